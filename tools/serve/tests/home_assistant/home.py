"""A Home Assistant of its own folder, and what a person does with it: integrations are added, and Assist is asked."""

import asyncio
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import aiohttp

ROOMS = ["Kitchen", "Living Room", "Bedroom", "Office", "Bathroom", "Hall"]
# Seconds that packages which Home Assistant fetches for an integration may take, or a model on a small board.
PATIENCE = 900

CONFIGURATION = """\
homeassistant: {name: Home, time_zone: Europe/Berlin, country: DE, currency: EUR, unit_system: metric, language: en}
http: {server_host: 127.0.0.1, server_port: PORT}
config:
conversation:
assist_pipeline:
logger: {default: warning}
"""


class Answer:
    """What Assist said: the pieces in the order they came, when the first came, and when all was there."""

    def __init__(self):
        self.pieces, self.calls, self.results = [], [], []
        self.first = self.all = None
        self.speech, self.conversation, self.error = "", None, None

    @property
    def text(self):
        return "".join(self.pieces)


class Home:
    """Home Assistant with rooms, and lights, sensors and blinds in them."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        entities = "\n".join(self.entities())
        (folder / "configuration.yaml").write_text(CONFIGURATION.replace("PORT", str(port)) + entities + "\n")
        self.log = folder / "home-assistant.log"
        command = [sys.executable, "-m", "homeassistant", "--config", self.folder.name]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.loop.run_until_complete(self.begin())
        except BaseException:
            print(self.log.read_text() if self.log.exists() else "Home Assistant wrote no log")
            self.end()
            raise

    @staticmethod
    def entities():
        """Template entities, which keep what they are set to."""
        yield "template:"
        yield "  - light:"
        for room in ROOMS:
            for kind in ("Light", "Lamp"):
                yield f"      - name: {room} {kind}"
                yield f"        unique_id: {slug(room)}_{slug(kind)}"
                yield "        turn_on: [{event: light_turned_on}]"
                yield "        turn_off: [{event: light_turned_off}]"
        yield "    sensor:"
        for index, room in enumerate(ROOMS):
            for kind, unit in (("temperature", "°C"), ("humidity", "%")):
                yield f"      - name: {room} {kind.capitalize()}"
                yield f"        unique_id: {slug(room)}_{kind}"
                yield f"        device_class: {kind}"
                yield f"        unit_of_measurement: '{unit}'"
                yield f"        state: '{19 + index}'"
        yield "    cover:"
        for room in ROOMS:
            yield f"      - name: {room} Blind"
            yield f"        unique_id: {slug(room)}_blind"
            yield "        optimistic: true"
            yield "        open_cover: [{event: opened}]"
            yield "        close_cover: [{event: closed}]"

    def end(self):
        if not self.loop.is_closed():
            self.run(self.session.close())
            self.loop.close()
        self.process.terminate()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    # What a person does.

    def add(self, domain, *inputs):
        """Settings > Devices & services > Add integration: the last step's result."""
        return self.run(self.flow("/api/config/config_entries/flow", domain, inputs))

    def add_agent(self, entry, kind, *inputs):
        """The entry's own menu: a conversation agent, or an AI task. The entry is loaded anew after each."""
        for _ in range(PATIENCE):
            done = self.run(self.flow("/api/config/config_entries/subentries/flow", [entry, kind], inputs))
            if done.get("reason") != "entry_not_loaded":
                break
            time.sleep(1)
        return done

    def change_agent(self, entry, kind, *inputs):
        """Reconfigure, in the menu of the agent that an entry has."""
        (agent,) = self.run(self.command("config_entries/subentries/list", entry_id=entry))
        path = "/api/config/config_entries/subentries/flow"
        return self.run(self.flow(path, [entry, kind], inputs, subentry_id=agent["subentry_id"]))

    def entries(self, domain):
        found = self.run(self.command("config_entries/get"))
        return [entry for entry in found if entry["domain"] == domain]

    def entity(self, domain, platform):
        """The one entity of a domain that an integration has made, which it does a moment after it was added."""
        for _ in range(PATIENCE):
            for one in self.run(self.command("config/entity_registry/list")):
                if one["platform"] == platform and one["entity_id"].startswith(domain + "."):
                    return one["entity_id"]
            time.sleep(1)
        raise SystemExit(f"{platform} made no {domain}")

    def state(self, entity):
        return self.run(self.get(f"/api/states/{entity}"))

    def act(self, domain, service, **data):
        """An action, with its response."""
        return self.run(self.post(f"/api/services/{domain}/{service}?return_response", data))["service_response"]

    def turn_off(self, entity):
        self.run(self.post("/api/services/light/turn_off", {"entity_id": entity}))

    def ask(self, agent, text, conversation=None):
        """What Assist is asked, through the pipeline of an agent, as the app does. An agent that was changed is away for a
        moment."""
        for _ in range(PATIENCE):
            answer = self.run(self.assist(agent, text, conversation))
            if answer:
                return answer
            time.sleep(1)
        raise SystemExit(f"{agent} is not there")

    # How it is done.

    def run(self, work):
        return self.loop.run_until_complete(work)

    async def begin(self):
        self.headers, self.numbers, self.pipelines = {}, 0, {}
        self.session = aiohttp.ClientSession(self.url, timeout=aiohttp.ClientTimeout(total=PATIENCE))
        await self.is_up()
        user = {"name": "Test", "username": "test", "password": "test", "client_id": self.url + "/", "language": "en"}
        code = (await self.post("/api/onboarding/users", user))["auth_code"]
        form = {"grant_type": "authorization_code", "code": code, "client_id": self.url + "/"}
        async with self.session.post("/auth/token", data=form) as answer:
            token = (await answer.json())["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}
        self.socket = await self.session.ws_connect("/api/websocket", max_msg_size=0)
        await self.socket.receive_json()
        await self.socket.send_json({"type": "auth", "access_token": token})
        assert (await self.socket.receive_json())["type"] == "auth_ok"
        # It would go back to its own port after five minutes.
        await self.command("http/config/promote")
        areas = {area["name"]: area["area_id"] for area in await self.command("config/area_registry/list")}
        for room in ROOMS:
            if room not in areas:
                areas[room] = (await self.command("config/area_registry/create", name=room))["area_id"]
        for entity in await self.command("config/entity_registry/list"):
            room = next((room for room in ROOMS if entity["entity_id"].split(".")[1].startswith(slug(room))), None)
            if entity["platform"] == "template" and room:
                await self.command("config/entity_registry/update", entity_id=entity["entity_id"], area_id=areas[room])
                await self.command("homeassistant/expose_entity", assistants=["conversation"],
                                   entity_ids=[entity["entity_id"]], should_expose=True)

    async def is_up(self):
        for _ in range(PATIENCE):
            if self.process.poll() is not None:
                raise SystemExit(f"Home Assistant ended with {self.process.returncode}")
            try:
                async with self.session.get("/api/onboarding") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(1)
        raise SystemExit("Home Assistant does not begin")

    async def get(self, path):
        async with self.session.get(path, headers=self.headers) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def post(self, path, body):
        async with self.session.post(path, json=body, headers=self.headers) as answer:
            if answer.status >= 400:
                raise RuntimeError(f"{path}: {answer.status}: {await answer.text()}")
            return await answer.json()

    async def flow(self, path, handler, inputs, **fields):
        step = await self.post(path, {"handler": handler, **fields})
        for given in inputs:
            if step["type"] != "form":
                break
            step = await self.post(f"{path}/{step['flow_id']}", given)
        return step

    async def command(self, kind, **fields):
        """A command over the WebSocket, and its result."""
        self.numbers += 1
        number = self.numbers
        await self.socket.send_json({"id": number, "type": kind, **fields})
        while True:
            message = await self.socket.receive_json()
            if message.get("id") == number and message["type"] == "result":
                if not message["success"]:
                    raise RuntimeError(f"{kind}: {message['error']}")
                return message["result"]

    async def pipeline(self, agent):
        if agent not in self.pipelines:
            made = await self.command(
                "assist_pipeline/pipeline/create", name=agent, language="en", conversation_engine=agent,
                conversation_language="en", prefer_local_intents=False, stt_engine=None, stt_language=None,
                tts_engine=None, tts_language=None, tts_voice=None, wake_word_entity=None, wake_word_id=None)
            self.pipelines[agent] = made["id"]
        return self.pipelines[agent]

    async def assist(self, agent, text, conversation):
        answer = Answer()
        fields = {"start_stage": "intent", "end_stage": "intent", "input": {"text": text},
                  "pipeline": await self.pipeline(agent), "timeout": PATIENCE}
        if conversation:
            fields["conversation_id"] = conversation
        self.numbers += 1
        number = self.numbers
        begun = time.monotonic()
        await self.socket.send_json({"id": number, "type": "assist_pipeline/run", **fields})
        while True:
            message = await self.socket.receive_json()
            if message.get("id") != number:
                continue
            if message["type"] == "result":
                if not message["success"]:
                    if message["error"]["code"] == "intent-not-supported":
                        return None
                    raise RuntimeError(f"Assist: {message['error']}")
                continue
            event = message["event"]
            data = event["data"]
            if event["type"] == "intent-progress":
                self.progress(answer, data.get("chat_log_delta") or {}, time.monotonic() - begun)
            elif event["type"] == "intent-end":
                output = data["intent_output"]
                answer.conversation = output["conversation_id"]
                answer.speech = output["response"]["speech"].get("plain", {}).get("speech", "")
                if output["response"]["response_type"] == "error":
                    answer.error = answer.speech
            elif event["type"] == "error":
                answer.error = data["message"]
            elif event["type"] == "run-end":
                answer.all = time.monotonic() - begun
                return answer

    @staticmethod
    def progress(answer, delta, since):
        if delta.get("content") or delta.get("tool_calls"):
            answer.first = answer.first or since
        if delta.get("content") and delta.get("role") != "tool_result":
            answer.pieces.append(delta["content"])
        answer.calls += delta.get("tool_calls") or []
        if delta.get("role") == "tool_result":
            answer.results.append(delta)


def slug(name):
    return name.lower().replace(" ", "_")

