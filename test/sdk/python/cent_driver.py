"""Calls the server API with `cent` by commands, one per line. ../README.md describes the protocol.

A command names a method of the server API, and its `request` has the fields of cent's request.
"""

import asyncio
import json
import sys
from typing import Any

import cent

Fields = dict[str, Any]

REQUESTS: dict[str, type[cent.CentRequest[Any]]] = {
    "publish": cent.PublishRequest,
    "broadcast": cent.BroadcastRequest,
    "subscribe": cent.SubscribeRequest,
    "unsubscribe": cent.UnsubscribeRequest,
    "disconnect": cent.DisconnectRequest,
    "refresh": cent.RefreshRequest,
    "presence": cent.PresenceRequest,
    "presence_stats": cent.PresenceStatsRequest,
    "history": cent.HistoryRequest,
    "history_remove": cent.HistoryRemoveRequest,
    "channels": cent.ChannelsRequest,
    "info": cent.InfoRequest,
}


def request_of(method: str, fields: Fields) -> "cent.CentRequest[Any]":
    if method != "batch":
        return REQUESTS[method](**fields)
    requests = [REQUESTS[name](**inner) for command in fields["commands"] for name, inner in command.items()]
    return cent.BatchRequest(requests=requests, parallel=fields.get("parallel"))


async def call(client: "cent.Client | cent.AsyncClient", method: str, fields: Fields) -> Fields:
    response = getattr(client, method)(request_of(method, fields))
    result = await response if isinstance(client, cent.AsyncClient) else response
    # Serializes the actual classes. Otherwise the results of a batch would have only the fields of their
    # declared base class.
    return result.model_dump(serialize_as_any=True, exclude_none=True)


async def execute(command: Fields) -> Fields:
    kind = cent.AsyncClient if command["async"] else cent.Client
    client = kind(command["url"], command["key"], timeout=30.0)
    try:
        return {"result": await call(client, command["command"], command["request"])}
    except cent.CentApiResponseError as error:
        return {"error": {"type": type(error).__name__, "code": error.code, "message": error.message}}
    except cent.CentTransportError as error:
        return {"error": {"type": type(error).__name__, "code": error.status_code}}
    except Exception as error:
        return {"error": {"type": type(error).__name__, "message": str(error)}}
    finally:
        if isinstance(client, cent.AsyncClient):
            await client.close()


async def main() -> None:
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps({"id": command["id"], **await execute(command)}), flush=True)


asyncio.run(main())
