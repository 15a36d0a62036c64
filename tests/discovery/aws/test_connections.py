from __future__ import annotations

import asyncio
import threading

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import HTTPClientError

from discovery.aws.connections import Connections
from scripts.moto import REGION, moto


async def test_who_is_interrupted_before_it_has_connected_does_not_wait() -> None:
    """A call may be cancelled between the thread's start and its connection: there is no socket yet."""
    connections = Connections()
    async with moto() as server:
        client = boto3.client(
            "sqs",
            endpoint_url=server.url,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(retries={"total_max_attempts": 1}),
        )
        connections.watch(client)

        def call() -> None:
            url = client.create_queue(QueueName="q")["QueueUrl"]
            client.close()  # so that the next call has to connect
            connections.interrupt(threading.get_ident())
            with pytest.raises(HTTPClientError):
                client.receive_message(QueueUrl=url, WaitTimeSeconds=20)
            connections.forget(threading.get_ident())
            assert client.get_queue_url(QueueName="q")["QueueUrl"] == url

        await asyncio.to_thread(call)
        client.close()
        connections.close()
