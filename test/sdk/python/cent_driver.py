"""The server client `cent`, told what to ask line by line: the protocol is in ../README.md.

An order names a method of the server API, and its `request` holds the fields of cent's own request.
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


async def ask(client: "cent.Client | cent.AsyncClient", method: str, fields: Fields) -> Fields:
    answer = getattr(client, method)(request_of(method, fields))
    result = await answer if isinstance(client, cent.AsyncClient) else answer
    # As they are, and not as the base class of which batch declares them to be.
    return result.model_dump(serialize_as_any=True, exclude_none=True)


async def obey(order: Fields) -> Fields:
    kind = cent.AsyncClient if order["async"] else cent.Client
    client = kind(order["url"], order["key"], timeout=30.0)
    try:
        return {"result": await ask(client, order["do"], order["request"])}
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
        order = json.loads(line)
        print(json.dumps({"id": order["id"], **await obey(order)}), flush=True)


asyncio.run(main())
