"""A whole server whose attachments lie in an S3 server: uploaded, used by a turn, exported, erased."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO
from pathlib import Path

import aiohttp
from tests.gateway.serving import Client, served
from tests.s3_process import BUCKET, REGION, s3_server

from ngx_agents.app.config_data import BlobsConfig
from ngx_agents.app.config_sections import Config, LocalConfig, ServerConfig
from ngx_agents.app.lifespan import running
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.state.object_store import ObjectSettings, ObjectStore
from ngx_agents.telemetry.metrics import Metrics

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 1000


async def test_attachments_live_in_the_object_store_from_upload_to_erasure(tmp_path: Path) -> None:
    with s3_server() as server:
        keys = {"access_key": server.access_key, "secret_key": server.secret_key}
        blobs = BlobsConfig(url=server.url, bucket=BUCKET, region=REGION, user_bytes=10_000, **keys)
        config = Config(server=ServerConfig(data_dir=str(tmp_path)), local=LocalConfig(builtin="off"), blobs=blobs)
        settings = ObjectSettings(url=server.url, bucket=BUCKET, region=REGION, **keys)
        store = ObjectStore(settings, clock=SystemClock(), rng=Rng(), metrics=Metrics())
        await store.open()
        async with running(config) as house, served(house.app) as url, aiohttp.ClientSession() as session:
            api, sent = Client(session, url), {"Content-Type": "image/png"}
            status, kept = await api.call("POST", "/v1/me/attachments", data=BytesIO(PNG), headers=sent)
            assert status == 201
            [found] = await store.page()
            assert await store.get(found.key) == PNG
            assert PNG not in (tmp_path / "journal.db").read_bytes()
            assert (await api.call("POST", "/v1/me/attachments", data=BytesIO(PNG + PNG), headers=sent))[0] == 413
            _, turn = await api.say(await api.conversation(), "¿qué ves en la foto?", attachments=[kept["id"]])
            assert turn["status"] == "completed"
            _, exported = await api.call("GET", "/v1/me/export")
            assert b64decode(exported["blobs"][0]["data_base64"]) == PNG
            _, receipt = await api.call("DELETE", "/v1/me")
            assert (receipt["erased"]["blob"], receipt["erased"]["object"]) == (1, 1)
            assert await store.page() == []
        await store.close()
