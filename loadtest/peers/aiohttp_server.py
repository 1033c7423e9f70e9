"""aiohttp as the platform's guides have it: the handler puts the body into a queue, a thread parses it, 200 at once.

  aiohttp_server.py PORT

On uvloop where that is installed, which makes it quicker.
"""
import asyncio
import json
import queue
import sys
import threading

from aiohttp import web

try:
    import uvloop
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
except ImportError:
    pass

bodies = queue.SimpleQueue()


def work():
    while True:
        json.loads(bodies.get())


async def webhook(request):
    bodies.put(await request.read())
    return web.Response()


threading.Thread(target=work, daemon=True).start()
app = web.Application()
app.add_routes([web.post("/webhook", webhook)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
