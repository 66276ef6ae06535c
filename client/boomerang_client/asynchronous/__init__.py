"""The client for asyncio. Needs aiohttp: `pip install 'boomerang-jobs-client[async]'`."""

from boomerang_client.asynchronous.client import AsyncClient as AsyncClient
from boomerang_client.asynchronous.records import AsyncBatch as AsyncBatch
from boomerang_client.asynchronous.records import AsyncJob as AsyncJob
