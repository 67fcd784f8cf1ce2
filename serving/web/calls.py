"""Answers the calls of the page's buttons from the browser, instead of gradio's own route.

Gradio would keep what ten thousand browsers were shown, with names and spectrograms, and would run
calls of browsers that have gone. Nothing of the calls here is kept.
"""

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import gradio
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from serving.web.uploads import Uploads
from serving.wire import parse_json

ASK: Final = "/gradio_api/run/predict"
"""The page's path under which its buttons are called."""
USER: Final = "swar.user"
"""The key of an ASGI scope that holds the name of the user."""
_ANSWERS_AT_ONCE: Final = 8


class Calls:
    """Answers the calls of a page's functions, eight at a time.

    A function that takes an `actor` gets the user's name.

    Args:
        page: defines the functions and their inputs.
        uploads: the only folder whose files may be named.
    """

    def __init__(self, page: gradio.Blocks, uploads: Uploads) -> None:
        self._functions = page.fns
        self._uploads = uploads
        self._turns = asyncio.Semaphore(_ANSWERS_AT_ONCE)

    async def answer(self, request: Request) -> Response:
        """The outputs of the called function, or the refusal: 400, or 403 for a file."""
        try:
            action = self._action(parse_json(await request.body()), request.scope[USER])
        except ValueError as error:
            return JSONResponse({"error": f"not a call of this page: {error}"}, 400)
        except HTTPException as refused:
            return JSONResponse({"error": refused.detail}, refused.status_code)
        await self._turn(request)
        try:
            outputs = await run_in_threadpool(action)
        finally:
            self._turns.release()
        return JSONResponse({"data": list(outputs) if isinstance(outputs, tuple) else [outputs]})

    def _action(self, call: Any, user: str) -> Callable[[], Any]:
        """The action of a call; raises ValueError if it fits no function of the page."""
        if not isinstance(call, dict):
            raise ValueError("it is no object")
        number, given = call.get("fn_index"), call.get("data")
        function = self._functions.get(number) if isinstance(number, int) else None
        if function is None or function.fn is None:
            raise ValueError("it names none of the page's functions")
        if not isinstance(given, list) or len(given) != len(function.inputs):
            raise ValueError(f"it does not have the {len(function.inputs)} values of its function")
        values = [
            self._value(field, each) for field, each in zip(function.inputs, given, strict=True)
        ]
        takes_actor = "actor" in inspect.signature(function.fn).parameters
        return partial(function.fn, *values, **({"actor": user} if takes_actor else {}))

    def _value(self, field: Any, given: Any) -> Any:
        """A field's value for its function; raises ValueError if the field cannot hold it."""
        match field:
            case gradio.Audio():
                if given is None:
                    return None
                path = given.get("path") if isinstance(given, dict) else None
                if not isinstance(path, str) or not self._uploads.has(path):
                    raise HTTPException(403, "a file that was not given to this page")
                return path
            case gradio.Checkbox():
                fits = isinstance(given, bool)
            case gradio.Radio():
                fits = given in [value for _, value in field.choices]
            case gradio.Textbox():
                given = "" if given is None else given  # before anything was typed
                fits = isinstance(given, str) and len(given) <= (field.max_length or len(given))
            case _:  # a list to choose from, which accepts other text too
                fits = given is None or isinstance(given, str)
        if not fits:
            raise ValueError(f"{field.label!r} cannot hold what it gives")
        return given

    async def _turn(self, request: Request) -> None:
        """Waits for one of the turns; raises ClientDisconnect if the client goes before."""
        turn = asyncio.create_task(self._turns.acquire())
        gone = asyncio.create_task(_gone(request))
        await asyncio.wait((turn, gone), return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if turn.cancel():  # it is not done
            raise ClientDisconnect


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
