"""News of objects in buckets: S3's notifications, as they arrive in a queue (SQS).

By itself, by way of SNS or of EventBridge: what is said is which object, and nothing else of it is believed. Messages
may come twice, late, and in any order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, final
from urllib.parse import unquote_plus

import boto3
from botocore import exceptions as aws
from botocore.config import Config

from lakehouse.errors import SettingsError, StorageError
from lakehouse.io.notifications import Message
from lakehouse.io.storage import cause
from lakehouse.redaction import holds_credentials, logger

_AT_ONCE = 10
"""What SQS gives and takes at a time."""

_LONGEST_WAIT = 20

log = logger()


@final
class SqsQueue:
    """A queue that S3 notifies.

    Parameters:
        queue: its URL, or its name

    Raises:
        SettingsError: it is named with credentials, or there is none of that name
        StorageError: AWS can't be reached
    """

    def __init__(self, queue: str) -> None:
        if holds_credentials(queue):
            raise SettingsError("the queue is named with credentials", hint="give its URL or its name alone")
        try:
            self._client: Any = boto3.client(
                "sqs", config=Config(connect_timeout=4, read_timeout=_LONGEST_WAIT + 10, retries={"max_attempts": 3})
            )
            self.url = queue if "://" in queue else str(self._client.get_queue_url(QueueName=queue)["QueueUrl"])
        except aws.ClientError as error:
            raise SettingsError(
                f"there is no queue {queue!r} that can be used: {cause(error)}",
                hint="give its URL, or its name in the account and region of the credentials",
            ) from error
        except aws.BotoCoreError as error:
            raise StorageError(f"the queue {queue!r} can't be reached: {cause(error)}") from error

    def receive(self, seconds: float) -> list[Message]:
        """What there is; where there is nothing, it waits for some of it.

        Parameters:
            seconds: how long it waits, at most 20

        Raises:
            StorageError: the queue can't be reached
        """
        try:
            found = self._client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=_AT_ONCE,
                WaitTimeSeconds=min(max(round(seconds), 0), _LONGEST_WAIT),
            )
        except (aws.ClientError, aws.BotoCoreError) as error:
            raise StorageError(f"the queue {self.url} can't be read: {cause(error)}") from error
        return [Message(one["ReceiptHandle"], objects_in(one["Body"])) for one in found.get("Messages", ())]

    def delete(self, messages: Sequence[Message]) -> None:
        """Take messages out of the queue. One that can't be comes again, which does no harm.

        Parameters:
            messages: the messages
        """
        for first in range(0, len(messages), _AT_ONCE):
            some = messages[first : first + _AT_ONCE]
            entries = [{"Id": str(i), "ReceiptHandle": one.receipt} for i, one in enumerate(some)]
            try:
                failed = self._client.delete_message_batch(QueueUrl=self.url, Entries=entries).get("Failed", ())
            except (aws.ClientError, aws.BotoCoreError) as error:
                log.warning("messages stay in the queue %s: %s", self.url, cause(error))
                return
            for one in failed:
                log.warning("a message stays in the queue %s: %s", self.url, one.get("Message") or one.get("Code"))


def objects_in(body: str) -> tuple[str, ...] | None:
    """The objects that a message tells of; none: it is S3's own trial of the queue. None: it is something else.

    Parameters:
        body: the message

    Examples:
        >>> objects_in('{"Records": [{"s3": {"bucket": {"name": "lake"}, "object": {"key": "in/a+b%3D1.csv"}}}]}')
        ('s3://lake/in/a b=1.csv',)
        >>> objects_in('{"source": "aws.s3", "detail": {"bucket": {"name": "lake"}, "object": {"key": "in/a+b"}}}')
        ('s3://lake/in/a+b',)
        >>> objects_in('{"Event": "s3:TestEvent", "Bucket": "lake"}'), objects_in("hello")
        ((), None)
    """
    try:
        told = json.loads(body)
        if isinstance(told, Mapping) and told.get("Type") == "Notification":
            told = json.loads(told["Message"])
        match told:
            case {"Event": "s3:TestEvent"}:
                return ()
            case {"Records": [*records]}:
                return tuple(_uri(one["s3"], unquote_plus(one["s3"]["object"]["key"])) for one in records)
            case {"source": "aws.s3", "detail": detail}:
                return (_uri(detail, detail["object"]["key"]),)
    except (ValueError, KeyError, TypeError):
        pass
    return None


def _uri(told: Mapping[str, Any], key: str) -> str:
    return f"s3://{told['bucket']['name']}/{key}"
