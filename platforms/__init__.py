"""Where we live: facts about the host this agent runs on. Knows neither discovery nor mesh."""
