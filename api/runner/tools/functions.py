"""Tools that are Python functions, registered by the operator under names.

A function's signature is its schema: annotations that msgspec can read, defaults, and the first paragraph of
the docstring as the description. A parameter called `idempotency_key` is ours to fill and no model sees it.
"""

import asyncio
import contextvars
import importlib
import inspect
import threading
import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from loguru import logger

from api.runner.tools import content
from api.runner.tools.base import Invocation, ToolResult

_KEY = "idempotency_key"


class FunctionRefused(Exception):
    """A function cannot be registered; the message is a sentence for the operator."""


class RegisteredFunction(msgspec.Struct, frozen=True, kw_only=True):
    """A function as a tool."""

    description: str
    parameters: dict[str, Any]
    """JSON Schema of the arguments."""
    arguments: type[msgspec.Struct]
    """What the arguments are converted to before the call."""
    function: Callable[..., Any]
    is_async: bool
    takes_key: bool


def load(target: str) -> RegisteredFunction:
    """Import `package.module:function` and read its signature.

    Raises:
        FunctionRefused: there is no such function, or its signature is no schema.
    """
    module_name, colon, name = target.partition(":")
    if not (colon and module_name and name):
        raise FunctionRefused(f"`{target}` is not of the form `package.module:function`.")
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise FunctionRefused(f"`{module_name}` has no `{name}`.") from error
    except Exception as error:  # whatever the operator's module raises when it is run
        reason = f"{type(error).__name__}: {error}"
        raise FunctionRefused(f"`{module_name}` cannot be imported ({reason}).") from error
    if not callable(found):
        raise FunctionRefused(f"`{target}` is not a function.")
    return register(found, name=target)


def register(function: Callable[..., Any], *, name: str) -> RegisteredFunction:
    """Read the signature of a function.

    Raises:
        FunctionRefused: it takes what cannot be named in JSON, or is annotated with what msgspec cannot read.
    """
    try:
        hints = typing.get_type_hints(function, include_extras=True)
        signature = inspect.signature(function)
    except (NameError, TypeError, ValueError) as error:
        raise FunctionRefused(f"The signature of `{name}` cannot be read ({error}).") from error
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for parameter in signature.parameters.values():
        if parameter.name == _KEY:
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise FunctionRefused(f"`{name}` has the parameter `{parameter}`, which cannot be given by name.")
        kind = hints.get(parameter.name, Any)
        if parameter.default is parameter.empty:
            fields.append((parameter.name, kind))
        else:
            fields.append((parameter.name, kind, _default(parameter.default)))
    try:
        arguments = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)
        parameters = _schema(arguments)
        msgspec.json.Decoder(arguments)
    except (TypeError, ValueError) as error:
        raise FunctionRefused(f"The annotations of `{name}` make no schema ({error}).") from error
    return RegisteredFunction(
        description=(inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ").strip(),
        parameters=parameters,
        arguments=arguments,
        function=function,
        is_async=inspect.iscoroutinefunction(function),
        takes_key=_KEY in signature.parameters,
    )


class FunctionTools:
    """Calls registered functions; those that are not asynchronous in a bounded number of threads."""

    def __init__(
        self, functions: Mapping[str, RegisteredFunction], *, threads_max: int, result_bytes_max: int
    ) -> None:
        self._functions = functions
        self._threads = asyncio.Semaphore(threads_max)
        self._result_bytes_max = result_bytes_max

    def find(self, name: str) -> RegisteredFunction | None:
        """The function of this name; None where none is registered."""
        return self._functions.get(name)

    async def call(self, invocation: Invocation, name: str) -> ToolResult:
        """Call a function with converted arguments."""
        found = self.find(name)
        if found is None:
            return content.failed(f"The function `{name}` is not registered in this installation.")
        try:
            converted = msgspec.convert(invocation.arguments, found.arguments)
        except msgspec.ValidationError as error:
            return content.failed(f"The function was not called: {error}.")
        given = {field: getattr(converted, field) for field in converted.__struct_fields__}
        if found.takes_key:
            given[_KEY] = invocation.idempotency_key
        began = asyncio.Event()
        seconds = invocation.tool.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                if found.is_async:
                    began.set()
                    value = await _awaited(found.function, given)
                else:
                    value = await self._in_thread(found.function, given, began)
        except TimeoutError:
            if began.is_set():
                return content.unknown(f"The function did not come to its end within {seconds:g} s.")
            return content.failed(f"The function was not called: all threads were busy for {seconds:g} s.")
        except _Raised as raised:
            cause = raised.error
            logger.opt(exception=cause).warning("tool function failed", function=name)
            return content.failed(str(cause) or type(cause).__name__)
        try:
            text = content.as_text("" if value is None else value)
        except (TypeError, ValueError, OverflowError, RecursionError):
            logger.opt(exception=True).warning("tool function gave no JSON", function=name)
            return content.completed(
                "The function was called, but what it gave back is not JSON.",
                bytes_max=self._result_bytes_max,
            )
        return content.completed(text or "Done.", bytes_max=self._result_bytes_max)

    async def _in_thread(
        self, function: Callable[..., Any], given: dict[str, Any], began: asyncio.Event
    ) -> Any:
        await self._threads.acquire()
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def settle(value: Any, error: BaseException | None) -> None:
            self._threads.release()
            if not ended.done():
                ended.set_exception(_Raised(error)) if error else ended.set_result(value)

        def work() -> None:
            value, error = None, None
            try:
                value = context.run(function, **given)
            except BaseException as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(settle, value, error)
            except RuntimeError:
                logger.debug("tool function came to its end after the service")

        # A daemon: one that never comes to its end keeps its place here, but not the process.
        threading.Thread(target=work, name="tool function", daemon=True).start()
        began.set()
        return await ended


class _Raised(Exception):
    """What the function raised, kept apart from what is raised around it, a timeout above all."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


async def _awaited(function: Callable[..., Any], given: dict[str, Any]) -> Any:
    try:
        return await function(**given)
    except Exception as error:
        raise _Raised(error) from error


def _default(value: Any) -> Any:
    """A default as msgspec takes it: each call gets a list or dict of its own."""
    if isinstance(value, list | dict | set) and value:
        return msgspec.field(default_factory=lambda: value.copy())
    return value


def _schema(arguments: type[msgspec.Struct]) -> dict[str, Any]:
    (schema,), components = msgspec.json.schema_components((arguments,), ref_template="#/$defs/{name}")
    schema = dict(components.pop(schema["$ref"].rpartition("/")[2], schema))
    schema.pop("title", None)
    if components:
        schema["$defs"] = components
    return schema
