from __future__ import annotations

from discovery.ecs.pace import Pace


def test_what_does_not_change_is_read_ever_more_seldom_and_a_change_brings_the_pace_back() -> None:
    pace = Pace(2.0, 10.0)
    assert [pace.after(changed=False) for _ in range(6)] == [2.0, 3.0, 4.5, 6.75, 10.0, 10.0]
    assert pace.after(changed=True) == 2.0
    assert pace.after(changed=False) == 3.0
