"""Controls one client of centrifuge-python by commands, one per line. ../README.md describes the protocol."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Coroutine
from typing import Any, Callable, Optional

import centrifuge

Command = dict[str, Any]


def write(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


class Events(centrifuge.ClientEventHandler):
    """Writes the events of the connection and of server-side subscriptions."""

    def __init__(self, driver: "Driver") -> None:
        self._driver = driver

    async def on_connecting(self, ctx: centrifuge.ConnectingContext) -> None:
        write(event="connecting", code=ctx.code, reason=ctx.reason)

    async def on_connected(self, ctx: centrifuge.ConnectedContext) -> None:
        write(event="connected", client=ctx.client, data=self._driver.decoded(ctx.data))

    async def on_disconnected(self, ctx: centrifuge.DisconnectedContext) -> None:
        write(event="disconnected", code=ctx.code, reason=ctx.reason)

    async def on_error(self, ctx: centrifuge.ErrorContext) -> None:
        write_error(ctx)

    async def on_subscribed(self, ctx: centrifuge.ServerSubscribedContext) -> None:
        write(event="serverSubscribed", **subscribed_fields(ctx))

    async def on_publication(self, ctx: centrifuge.ServerPublicationContext) -> None:
        write(event="serverPublication", channel=ctx.channel, **self._driver.publication_fields(ctx.pub))

    async def on_unsubscribed(self, ctx: centrifuge.ServerUnsubscribedContext) -> None:
        write(event="serverUnsubscribed", channel=ctx.channel)


class SubscriptionEvents(centrifuge.SubscriptionEventHandler):
    """Writes the events of one client-side subscription."""

    def __init__(self, driver: "Driver", channel: str) -> None:
        self._driver = driver
        self._channel = channel

    async def on_subscribing(self, ctx: centrifuge.SubscribingContext) -> None:
        write(event="subscribing", channel=self._channel, code=ctx.code, reason=ctx.reason)

    async def on_subscribed(self, ctx: centrifuge.SubscribedContext) -> None:
        write(event="subscribed", **subscribed_fields(ctx))

    async def on_unsubscribed(self, ctx: centrifuge.UnsubscribedContext) -> None:
        write(event="unsubscribed", channel=self._channel, code=ctx.code, reason=ctx.reason)

    async def on_publication(self, ctx: centrifuge.PublicationContext) -> None:
        fields = self._driver.publication_fields(ctx.pub)
        write(event="publication", channel=self._channel, tags=ctx.pub.tags, **fields)

    async def on_join(self, ctx: centrifuge.JoinContext) -> None:
        write(event="join", channel=self._channel, user=ctx.info.user, client=ctx.info.client)

    async def on_leave(self, ctx: centrifuge.LeaveContext) -> None:
        write(event="leave", channel=self._channel, user=ctx.info.user, client=ctx.info.client)

    async def on_error(self, ctx: centrifuge.SubscriptionErrorContext) -> None:
        write_error(ctx)


def subscribed_fields(
    ctx: "centrifuge.SubscribedContext | centrifuge.ServerSubscribedContext",
) -> dict[str, Any]:
    return {
        "channel": ctx.channel,
        "wasRecovering": ctx.was_recovering,
        "recovered": ctx.recovered,
    }


def write_error(ctx: "centrifuge.ErrorContext | centrifuge.SubscriptionErrorContext") -> None:
    """Writes an error with the code of the server if there is one, or else that of the SDK."""
    write(event="error", code=getattr(ctx.error, "code", ctx.code), message=str(ctx.error))


class Driver:
    def __init__(self, *, protobuf: bool) -> None:
        self._protobuf = protobuf
        # Placeholder before the command to connect.
        self._client = centrifuge.Client("")
        self._token_requests: list[asyncio.Future[str]] = []
        self._running: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        # Raises the exception of the task; asyncio logs it.
        task.result()

    async def execute(self, command: Command) -> None:
        if command["command"] == "token":
            self._token_requests[command["request"]].set_result(command["token"])
            return
        try:
            write(id=command["id"], result=await self._result_of(command))
        except centrifuge.ReplyError as error:
            write(id=command["id"], error={"code": error.code, "message": error.message})
        except Exception as error:
            write(id=command["id"], error={"code": 0, "message": repr(error)})

    async def _result_of(self, command: Command) -> dict[str, Any]:
        client = self._client
        match command["command"]:
            case "connect":
                self._client = self._new_client(command)
                self.run(self._client.connect())
                return {}
            case "disconnect":
                await client.disconnect()
                return {}
            case "subscribe":
                self.run(self._subscription(command).subscribe())
                return {}
            case "unsubscribe":
                subscription = client.get_subscription(command["channel"])
                assert subscription is not None
                await subscription.unsubscribe()
                return {}
            case "publish":
                await client.publish(command["channel"], self._encoded(command["data"]))
                return {}
            case "history":
                page = await client.history(
                    command["channel"],
                    limit=command.get("limit", 0),
                    since=position_of(command),
                    reverse=command.get("reverse", False),
                )
                publications = [self.publication_fields(pub) for pub in page.publications]
                return {"publications": publications, "offset": page.offset, "epoch": page.epoch}
            case "presence":
                members = (await client.presence(command["channel"])).clients.values()
                return {"clients": [{"client": one.client, "user": one.user} for one in members]}
            case "presenceStats":
                stats = await client.presence_stats(command["channel"])
                return {"clients": stats.num_clients, "users": stats.num_users}
            case unknown:
                raise ValueError(f"unknown command {unknown}")

    def _new_client(self, command: Command) -> centrifuge.Client:
        return centrifuge.Client(
            command["url"],
            events=Events(self),
            token=command.get("token", ""),
            get_token=self._token_getter() if command.get("requestsToken") else None,
            use_protobuf=self._protobuf,
            # Long enough for a busy machine.
            timeout=30.0,
            min_reconnect_delay=0.01,
            max_reconnect_delay=0.05,
            proxy=None,
        )

    def _subscription(self, command: Command) -> centrifuge.Subscription:
        """Returns the existing subscription with its first options, or a new one."""
        channel = command["channel"]
        known = self._client.get_subscription(channel)
        if known is not None:
            return known
        delta = command.get("delta")
        since = position_of(command)

        async def state(_channel: str) -> centrifuge.StreamPosition:
            assert since is not None
            return since

        return self._client.new_subscription(
            channel,
            events=SubscriptionEvents(self, channel),
            token=command.get("token", ""),
            get_token=self._token_getter() if command.get("requestsToken") else None,
            min_resubscribe_delay=0.01,
            max_resubscribe_delay=0.05,
            recoverable=command.get("recoverable", False),
            join_leave=command.get("joinLeave", False),
            delta=centrifuge.DeltaType(delta) if delta else None,
            tags_filter=centrifuge.FilterNode(command["tagsFilter"]) if "tagsFilter" in command else None,
            get_state=state if since else None,
        )

    def _token_getter(self) -> Callable[..., Awaitable[str]]:
        async def get_token(channel: Optional[str] = None) -> str:
            token = asyncio.get_running_loop().create_future()
            self._token_requests.append(token)
            write(event="tokenRequested", request=len(self._token_requests) - 1, channel=channel)
            return await token

        return get_token

    def publication_fields(self, pub: centrifuge.Publication) -> dict[str, Any]:
        return {"data": self.decoded(pub.data), "offset": pub.offset}

    def _encoded(self, data: Any) -> Any:
        return json.dumps(data).encode() if self._protobuf else data

    def decoded(self, data: Any) -> Any:
        """Decodes data, which is JSON in bytes with protobuf."""
        return json.loads(data) if isinstance(data, bytes) else data


def position_of(command: Command) -> Optional[centrifuge.StreamPosition]:
    since = command.get("since")
    return centrifuge.StreamPosition(**since) if since else None


async def main() -> None:
    driver = Driver(protobuf="--protobuf" in sys.argv)
    commands = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    # Commands run concurrently, because a command may wait for the token that a later line contains.
    async for line in commands:
        driver.run(driver.execute(json.loads(line)))


asyncio.run(main())
