from discovery.consul.pace import NEWS, NO_NEWS, Pace


def test_a_service_that_changes_is_followed_without_a_pause() -> None:
    pace = Pace()
    assert [pace.pause(NEWS, number * 0.01) for number in range(1000)] == [0.0] * 1000


def test_answers_without_news_are_asked_for_twice_a_second_after_a_burst() -> None:
    pace, now, pauses = Pace(), 0.0, []
    for _ in range(20):
        pause = pace.pause(NO_NEWS, now)
        now += pause
        pauses.append(pause)
    assert pauses[:4] == [0.0] * 4
    assert pauses[10:] == [0.5] * 10


def test_a_quiet_minute_earns_the_burst_again_and_no_more() -> None:
    pace = Pace()
    for _ in range(10):
        pace.pause(NO_NEWS, 0.0)
    assert [pace.pause(NO_NEWS, 600.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.0, 0.5]
