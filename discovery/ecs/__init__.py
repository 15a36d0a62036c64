"""Tasks of ECS services: `/#/ecs/<cluster>/<service>[/<container port>]`, by polling and, where there is one, a queue.

`records` and `endpoints` are pure (payloads become tasks, tasks become an `Addr`), `reading` asks ECS and EC2, `queue`
hears events, `feed` keeps one cluster's truth, `source` opens the clusters that are observed.
"""
