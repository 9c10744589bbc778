"""One client of centrifuge-python, told what to do line by line: the protocol is in ../README.md."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Coroutine
from typing import Any, Callable, Optional

import centrifuge

Order = dict[str, Any]


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


class Events(centrifuge.ClientEventHandler):
    """Of the connection, and of what the server subscribes it to."""

    def __init__(self, driver: "Driver") -> None:
        self._driver = driver

    async def on_connecting(self, ctx: centrifuge.ConnectingContext) -> None:
        say(event="connecting", code=ctx.code, reason=ctx.reason)

    async def on_connected(self, ctx: centrifuge.ConnectedContext) -> None:
        say(event="connected", client=ctx.client, data=self._driver.decoded(ctx.data))

    async def on_disconnected(self, ctx: centrifuge.DisconnectedContext) -> None:
        say(event="disconnected", code=ctx.code, reason=ctx.reason)

    async def on_error(self, ctx: centrifuge.ErrorContext) -> None:
        say_error(ctx)

    async def on_subscribed(self, ctx: centrifuge.ServerSubscribedContext) -> None:
        say(event="serverSubscribed", **subscribed_fields(ctx))

    async def on_publication(self, ctx: centrifuge.ServerPublicationContext) -> None:
        say(event="serverPublication", channel=ctx.channel, **self._driver.publication_fields(ctx.pub))

    async def on_unsubscribed(self, ctx: centrifuge.ServerUnsubscribedContext) -> None:
        say(event="serverUnsubscribed", channel=ctx.channel)


class SubscriptionEvents(centrifuge.SubscriptionEventHandler):
    """Of one subscription that the client asked for."""

    def __init__(self, driver: "Driver", channel: str) -> None:
        self._driver = driver
        self._channel = channel

    async def on_subscribing(self, ctx: centrifuge.SubscribingContext) -> None:
        say(event="subscribing", channel=self._channel, code=ctx.code, reason=ctx.reason)

    async def on_subscribed(self, ctx: centrifuge.SubscribedContext) -> None:
        say(event="subscribed", **subscribed_fields(ctx))

    async def on_unsubscribed(self, ctx: centrifuge.UnsubscribedContext) -> None:
        say(event="unsubscribed", channel=self._channel, code=ctx.code, reason=ctx.reason)

    async def on_publication(self, ctx: centrifuge.PublicationContext) -> None:
        say(event="publication", channel=self._channel, **self._driver.publication_fields(ctx.pub))

    async def on_join(self, ctx: centrifuge.JoinContext) -> None:
        say(event="join", channel=self._channel, user=ctx.info.user, client=ctx.info.client)

    async def on_leave(self, ctx: centrifuge.LeaveContext) -> None:
        say(event="leave", channel=self._channel, user=ctx.info.user, client=ctx.info.client)

    async def on_error(self, ctx: centrifuge.SubscriptionErrorContext) -> None:
        say_error(ctx)


def subscribed_fields(
    ctx: "centrifuge.SubscribedContext | centrifuge.ServerSubscribedContext",
) -> dict[str, Any]:
    return {
        "channel": ctx.channel,
        "wasRecovering": ctx.was_recovering,
        "recovered": ctx.recovered,
    }


def say_error(ctx: "centrifuge.ErrorContext | centrifuge.SubscriptionErrorContext") -> None:
    """The server's own number where it gave one; else the SDK's."""
    say(event="error", code=getattr(ctx.error, "code", ctx.code), message=str(ctx.error))


class Driver:
    def __init__(self, *, protobuf: bool) -> None:
        self._protobuf = protobuf
        # Until there is an order to connect.
        self._client = centrifuge.Client("")
        self._asked: list[asyncio.Future[str]] = []
        self._running: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        # Raises what went wrong: asyncio tells of it.
        task.result()

    async def obey(self, order: Order) -> None:
        if order["do"] == "token":
            self._asked[order["ask"]].set_result(order["token"])
            return
        try:
            say(id=order["id"], result=await self._done(order))
        except centrifuge.ReplyError as error:
            say(id=order["id"], error={"code": error.code, "message": error.message})
        except Exception as error:
            say(id=order["id"], error={"code": 0, "message": repr(error)})

    async def _done(self, order: Order) -> dict[str, Any]:
        client = self._client
        match order["do"]:
            case "connect":
                self._client = self._new_client(order)
                self.run(self._client.connect())
                return {}
            case "disconnect":
                await client.disconnect()
                return {}
            case "subscribe":
                self.run(self._subscription(order).subscribe())
                return {}
            case "unsubscribe":
                subscription = client.get_subscription(order["channel"])
                assert subscription is not None
                await subscription.unsubscribe()
                return {}
            case "publish":
                await client.publish(order["channel"], self._encoded(order["data"]))
                return {}
            case "history":
                page = await client.history(
                    order["channel"],
                    limit=order.get("limit", 0),
                    since=position_of(order),
                    reverse=order.get("reverse", False),
                )
                publications = [self.publication_fields(pub) for pub in page.publications]
                return {"publications": publications, "offset": page.offset, "epoch": page.epoch}
            case "presence":
                members = (await client.presence(order["channel"])).clients.values()
                return {"clients": [{"client": one.client, "user": one.user} for one in members]}
            case "presenceStats":
                stats = await client.presence_stats(order["channel"])
                return {"clients": stats.num_clients, "users": stats.num_users}
            case unknown:
                raise ValueError(f"there is no order {unknown}")

    def _new_client(self, order: Order) -> centrifuge.Client:
        return centrifuge.Client(
            order["url"],
            events=Events(self),
            token=order.get("token", ""),
            get_token=self._asks_token() if order.get("asksToken") else None,
            name=order.get("name", "python"),
            use_protobuf=self._protobuf,
            # A busy machine is slow, not wrong.
            timeout=30.0,
            min_reconnect_delay=0.01,
            max_reconnect_delay=0.05,
            proxy=None,
        )

    def _subscription(self, order: Order) -> centrifuge.Subscription:
        """The one that is there; the options of its first order hold."""
        channel = order["channel"]
        known = self._client.get_subscription(channel)
        if known is not None:
            return known
        delta = order.get("delta")
        since = position_of(order)

        async def state(_channel: str) -> centrifuge.StreamPosition:
            assert since is not None
            return since

        return self._client.new_subscription(
            channel,
            events=SubscriptionEvents(self, channel),
            token=order.get("token", ""),
            get_token=self._asks_token() if order.get("asksToken") else None,
            min_resubscribe_delay=0.01,
            max_resubscribe_delay=0.05,
            positioned=order.get("positioned", False),
            recoverable=order.get("recoverable", False),
            join_leave=order.get("joinLeave", False),
            delta=centrifuge.DeltaType(delta) if delta else None,
            tags_filter=centrifuge.FilterNode(order["tagsFilter"]) if "tagsFilter" in order else None,
            get_state=state if since else None,
        )

    def _asks_token(self) -> Callable[..., Awaitable[str]]:
        async def ask(channel: Optional[str] = None) -> str:
            asked = asyncio.get_running_loop().create_future()
            self._asked.append(asked)
            say(event="tokenWanted", ask=len(self._asked) - 1, channel=channel)
            return await asked

        return ask

    def publication_fields(self, pub: centrifuge.Publication) -> dict[str, Any]:
        return {"data": self.decoded(pub.data), "offset": pub.offset, "tags": pub.tags}

    def _encoded(self, data: Any) -> Any:
        return json.dumps(data).encode() if self._protobuf else data

    def decoded(self, data: Any) -> Any:
        """In protobuf data is bytes, and here always JSON."""
        return json.loads(data) if isinstance(data, bytes) else data


def position_of(order: Order) -> Optional[centrifuge.StreamPosition]:
    since = order.get("since")
    return centrifuge.StreamPosition(**since) if since else None


async def main() -> None:
    driver = Driver(protobuf="--protobuf" in sys.argv)
    orders = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    # Not one after the other: a question for a token is answered while something else waits for it.
    async for line in orders:
        driver.run(driver.obey(json.loads(line)))


asyncio.run(main())
