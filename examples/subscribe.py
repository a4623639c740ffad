"""Prints forecasts as they come, and goes on where it was after a lost connection.

    pip install websockets
    python examples/subscribe.py ws://127.0.0.1:9630/v1/stream AAPL MSFT

The token, where the daemon has one, comes from the variable TICKCAST_TOKEN.
COUNT=10 ends after so many forecasts.
"""

import asyncio
import json
import os
import random
import sys
import urllib.parse

import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

WAIT_SECONDS_MAX = 30


async def follow(url, symbols, token=None):
    """Yields forecasts without end. A repeat has an id that was seen; a loss is told on stderr."""
    parameters = {"envelope": "true", "snapshot": "true", "when_slow": "conflate"}
    if symbols:
        parameters["symbols"] = ",".join(symbols)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    wait_seconds = 1
    while True:
        address = f"{url}?{urllib.parse.urlencode(parameters)}"
        try:
            async with websockets.connect(address, additional_headers=headers) as socket:
                async for text in socket:
                    message = json.loads(text)
                    if "notice" in message:
                        stream = message["stream"]
                        if message["notice"] == "missed":
                            print(f"missed {message['records']} forecasts", file=sys.stderr)
                        continue
                    # From here on a new connection begins behind this forecast.
                    parameters["after"] = f"{stream}:{message['seq']}"
                    wait_seconds = 1
                    yield message["forecast"]
        except InvalidStatus as refusal:
            if refusal.response.status_code < 500:
                raise
        except (ConnectionClosed, OSError) as error:
            print(f"connection lost: {error}", file=sys.stderr)
        await asyncio.sleep(random.uniform(0, wait_seconds))
        wait_seconds = min(2 * wait_seconds, WAIT_SECONDS_MAX)


async def main():
    url, *symbols = sys.argv[1:] or ["ws://127.0.0.1:9630/v1/stream"]
    left = int(os.environ.get("COUNT", "0"))
    async for forecast in follow(url, symbols, os.environ.get("TICKCAST_TOKEN")):
        print(
            forecast["symbol"], forecast["as_of"], forecast["value"], forecast["signal"], flush=True
        )
        left -= 1
        if left == 0:
            return


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
