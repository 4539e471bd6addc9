#!/usr/bin/env python3
"""The OpenAI and Anthropic Python SDKs, as PyPI has them, against a real server with the mock provider behind it.

    tests/extended/sdks.py [DATA]

Installs them into a folder in the cache if they are not there. Every model is asked through both SDKs and over both
protocols to the provider: plain, streamed, with tools and their results, in JSON, embeddings in both encodings, errors
as the SDKs' own exceptions, and the async clients. DATA is not read.
"""

import asyncio
import json
import math
import os
import subprocess
import sys
from pathlib import Path

from gateway_overhead import Mock
from ragstone import Report, Server

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ragstone"
PACKAGES = CACHE / "sdks"
KEY = "a-key-of-enough-bytes"
# Any will do, but Anthropic's protocol wants one.
PROVIDER_KEY = "KEY_OF_THE_PROVIDER"
MODELS = ("gpt", "claude")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
ONE_TWO = [{"role": "user", "content": "one two three"}]
WEATHER = [{"role": "user", "content": "What is the weather?"}]


def main():
    install()
    import anthropic
    import openai

    os.environ[PROVIDER_KEY] = "sk-some"
    report = Report()
    print(f"  openai {openai.__version__}, anthropic {anthropic.__version__}")
    with Mock() as mock, Server(config(mock.base)) as server:
        options = {"api_key": KEY, "max_retries": 0, "timeout": 30}
        with openai.OpenAI(base_url=f"{server.base}/v1", **options) as client:
            openai_models(report, client)
            for model in MODELS:
                openai_chat(report, client, model)
                openai_tools(report, client, model)
                openai_json(report, client, model)
            openai_embeddings(report, client)
            openai_errors(report, openai, server, mock, client)
        with anthropic.Anthropic(base_url=server.base, **options) as client:
            for model in MODELS:
                anthropic_messages(report, client, model)
                anthropic_tools(report, client, model)
            anthropic_errors(report, anthropic, server, mock, client)
        asyncio.run(asynchronously(report, openai, anthropic, server, options))
        report.none(server.complaints(), "the log has no complaints")
    report.end()


def install():
    sys.path.insert(0, str(PACKAGES))
    if not (PACKAGES / "anthropic").exists() or not (PACKAGES / "openai").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", PACKAGES, "openai", "anthropic"]
        subprocess.run(command, check=True)


def config(provider):
    import hashlib

    lines = ['[embedding]\nmodel = "test-hash"\n[llm]\nfirst_token_timeout_s = 1\n[llm.retry]\ntries_max = 1\n']
    for name, kind in zip(MODELS, ("compatible", "anthropic")):
        lines.append(f'[[llm.deployments]]\nname = "{name}"\nprovider = "{kind}"\nmodel = "{name}-1"\nbase_url = "{provider}/v1"\napi_key_env = "{PROVIDER_KEY}"\n')
        lines.append(f'[[llm.models]]\nname = "{name}"\nladder = [["{name}"]]\n')
    lines.append('[[llm.deployments]]\nname = "faulty"\nprovider = "compatible"\nmodel = "faulty-1"\n' f'base_url = "{provider}/v1"\n')
    lines.append('[[llm.models]]\nname = "faulty"\nladder = [["faulty"]]\n')
    for key, scopes in ((KEY, ["query"]), ("an-uploader-s-key", ["ingest"])):
        lines.append(f'[[auth.keys]]\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\ntenant = "a"\nscopes = {json.dumps(scopes)}\n')
    return "".join(lines)


def openai_models(report, client):
    names = [model.id for model in client.models.list()]
    report.expect(set(MODELS) <= set(names), f"openai: models are listed: {', '.join(names)}")
    report.expect(client.models.retrieve("gpt").id == "gpt", "openai: one model is retrieved")


def openai_chat(report, client, model):
    whole = client.chat.completions.create(model=model, messages=ONE_TWO, max_tokens=50)
    said = whole.choices[0].message.content
    report.expect("one two three" in said and whole.choices[0].finish_reason == "stop", f"openai: {model} answers")
    report.expect(whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens > 3, f"openai: {model}'s tokens are counted")
    chunks = list(client.chat.completions.create(model=model, messages=ONE_TWO, max_tokens=50, stream=True, stream_options={"include_usage": True}))
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    report.expect(streamed == said and len(chunks) > 4, f"openai: {model} streams the same in {len(chunks)} chunks")
    report.expect(chunks[-1].usage == whole.usage and not chunks[-1].choices, f"openai: {model}'s stream ends with its usage")


def openai_tools(report, client, model):
    tools = [{"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": SCHEMA}}]
    whole = client.chat.completions.create(model=model, messages=WEATHER, tools=tools)
    message = whole.choices[0].message
    call = message.tool_calls[0]
    report.expect(whole.choices[0].finish_reason == "tool_calls" and call.function.name == "weather", f"openai: {model} calls a tool")
    report.expect("city" in json.loads(call.function.arguments), f"openai: {model}'s arguments are JSON")
    with client.chat.completions.stream(model=model, messages=WEATHER, tools=tools) as stream:
        final = stream.get_final_completion().choices[0].message.tool_calls[0]
    report.expect((final.function.name, final.function.arguments) == ("weather", call.function.arguments), f"openai: {model} streams the same call")
    messages = WEATHER + [message, {"role": "tool", "tool_call_id": call.id, "content": "rain in Oslo"}]
    answer = client.chat.completions.create(model=model, messages=messages, tools=tools)
    report.expect("rain in Oslo" in answer.choices[0].message.content, f"openai: {model} gets the result")


def openai_json(report, client, model):
    schema = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
    answer = client.chat.completions.create(model=model, messages=ONE_TWO, response_format=schema)
    # The mock keeps to a schema in OpenAI's protocol only.
    is_kept = model == "claude" or "city" in json.loads(answer.choices[0].message.content)
    report.expect(answer.choices[0].message.content and is_kept, f"openai: {model} answers by a schema")


def openai_embeddings(report, client):
    name = [model.id for model in client.models.list()][-1]
    floats = client.embeddings.create(model=name, input=["one", "two"], encoding_format="float")
    vectors = [item.embedding for item in floats.data]
    report.expect(len(vectors) == 2 and all(abs(math.hypot(*vector) - 1) < 1e-3 for vector in vectors), "openai: texts are embedded")
    # Without an encoding the SDK asks for base64 and decodes it.
    decoded = [item.embedding for item in client.embeddings.create(model=name, input=["one", "two"]).data]
    is_same = all(abs(a - b) < 1e-6 for one, other in zip(vectors, decoded) for a, b in zip(one, other))
    report.expect(is_same and len(decoded[0]) == len(vectors[0]), "openai: base64 holds the same numbers")
    report.expect(floats.usage.total_tokens > 0, "openai: embedded tokens are counted")


def faults(sdk):
    """What the provider answers, and the exception that it is to a client."""
    return [
        (429, sdk.RateLimitError),
        (400, sdk.BadRequestError),
        (422, sdk.UnprocessableEntityError),
        (401, sdk.InternalServerError),
        (500, sdk.InternalServerError),
    ]


def raised(call):
    try:
        call()
    except Exception as error:  # what it is is the question
        return error
    return None


def script(mock, status):
    import urllib.request

    steps = {"faulty-1": [{"status": status}]}
    request = urllib.request.Request(f"{mock.base}/mock/script", json.dumps({"steps": steps, "repeat_last": True}).encode(), method="PUT")
    urllib.request.urlopen(request, timeout=10).read()


def look_at_errors(report, name, sdk, server, mock, ask, with_key):
    expected = [
        (sdk.NotFoundError, lambda: ask("none")),
        (sdk.AuthenticationError, lambda: with_key("wrong")),
        (sdk.PermissionDeniedError, lambda: with_key("an-uploader-s-key")),
    ]
    for kind, call in expected:
        error = raised(call)
        report.expect(type(error) is kind and error.request_id, f"{name}: {kind.__name__}: {error}")
    for status, kind in faults(sdk):
        script(mock, status)
        error = raised(lambda: ask("faulty"))
        report.expect(type(error) is kind, f"{name}: {status} of the provider is {type(error).__name__}, {kind.__name__} expected")
        # A refused key rests its deployment for a minute: each status meets a fresh server.
        server.stop()
        server.start()
    script(mock, 200)


def openai_errors(report, sdk, server, mock, client):
    def ask(model):
        return at(client).chat.completions.create(model=model, messages=ONE_TWO)

    def at(client):
        return client.with_options(base_url=f"{server.base}/v1")

    def with_key(key):
        return at(client).with_options(api_key=key).chat.completions.create(model="gpt", messages=ONE_TWO)

    look_at_errors(report, "openai", sdk, server, mock, ask, with_key)
    error = raised(lambda: at(client).chat.completions.create(model="gpt", messages=[]))
    report.expect(type(error) is sdk.BadRequestError and error.code == "bad_chat", f"openai: a bad request has its code: {error.code}")


def anthropic_messages(report, client, model):
    whole = client.messages.create(model=model, max_tokens=50, messages=ONE_TWO, system="Be brief.")
    said = whole.content[0].text
    report.expect("one two three" in said and whole.stop_reason == "end_turn", f"anthropic: {model} answers")
    report.expect(whole.usage.input_tokens > 3 and whole.usage.output_tokens > 3, f"anthropic: {model}'s tokens are counted")
    with client.messages.stream(model=model, max_tokens=50, messages=ONE_TWO, system="Be brief.") as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    report.expect(text == said == final.content[0].text, f"anthropic: {model} streams the same")
    same = (final.usage.input_tokens, final.usage.output_tokens) == (whole.usage.input_tokens, whole.usage.output_tokens)
    report.expect(same and final.stop_reason == "end_turn", f"anthropic: {model}'s stream ends with its usage: {final.usage}")
    counted = client.messages.count_tokens(model=model, messages=ONE_TWO)
    report.expect(counted.input_tokens > 0, f"anthropic: {counted.input_tokens} tokens are counted beforehand")


def anthropic_tools(report, client, model):
    tools = [{"name": "weather", "description": "The weather", "input_schema": SCHEMA}]
    whole = client.messages.create(model=model, max_tokens=50, messages=WEATHER, tools=tools)
    call = next(block for block in whole.content if block.type == "tool_use")
    report.expect(whole.stop_reason == "tool_use" and call.name == "weather" and "city" in call.input, f"anthropic: {model} calls a tool")
    with client.messages.stream(model=model, max_tokens=50, messages=WEATHER, tools=tools) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_message()
    streamed = next(block for block in final.content if block.type == "tool_use")
    report.expect((streamed.name, streamed.input) == (call.name, call.input) and "input_json" in kinds, f"anthropic: {model} streams the same call")
    result = [{"type": "tool_result", "tool_use_id": call.id, "content": "rain in Oslo"}]
    messages = WEATHER + [{"role": "assistant", "content": whole.content}, {"role": "user", "content": result}]
    answer = client.messages.create(model=model, max_tokens=50, messages=messages, tools=tools)
    report.expect("rain in Oslo" in answer.content[0].text, f"anthropic: {model} gets the result")


def anthropic_errors(report, sdk, server, mock, client):
    def ask(model, **more):
        options = {"max_tokens": 9, "messages": ONE_TWO} | more
        return client.with_options(base_url=server.base).messages.create(model=model, **options)

    def with_key(key):
        return client.with_options(base_url=server.base, api_key=key).messages.create(model="gpt", max_tokens=9, messages=ONE_TWO)

    look_at_errors(report, "anthropic", sdk, server, mock, ask, with_key)
    error = raised(lambda: ask("gpt", messages=[]))
    report.expect(type(error) is sdk.BadRequestError and error.body["error"]["type"] == "invalid_request_error", f"anthropic: a bad request has its type: {error.body}")


async def asynchronously(report, openai, anthropic, server, options):
    async with openai.AsyncOpenAI(base_url=f"{server.base}/v1", **options) as client:
        stream = await client.chat.completions.create(model="gpt", messages=ONE_TWO, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        answers = await asyncio.gather(*(client.chat.completions.create(model=model, messages=ONE_TWO, max_tokens=50) for model in MODELS * 8))
    report.expect("one two three" in text and len(answers) == 16, "openai: the async client streams, and asks 16 at a time")
    async with anthropic.AsyncAnthropic(base_url=server.base, **options) as client:
        async with client.messages.stream(model="claude", max_tokens=50, messages=ONE_TWO) as stream:
            text = "".join([piece async for piece in stream.text_stream])
        answers = await asyncio.gather(*(client.messages.create(model=model, max_tokens=50, messages=ONE_TWO) for model in MODELS * 8))
    report.expect("one two three" in text and len(answers) == 16, "anthropic: the async client streams, and asks 16 at a time")


if __name__ == "__main__":
    main()
