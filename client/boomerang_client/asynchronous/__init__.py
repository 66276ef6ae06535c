"""The client for asyncio. Needs aiohttp: `pip install './client[async]'` in a checkout of Boomerang."""

from boomerang_client.asynchronous.client import AsyncClient as AsyncClient
from boomerang_client.asynchronous.records import AsyncBatch as AsyncBatch
from boomerang_client.asynchronous.records import AsyncJob as AsyncJob
