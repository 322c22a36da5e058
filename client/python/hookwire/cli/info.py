"""`hookwire info`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from hookwire.cli.settings import Settings, subcommand
from hookwire.cli.show import Output
from hookwire.facts.config import Config, ServerInfo, ServerLoad, UnreadFile
from hookwire.facts.display import size

# Names of tensors, and of files; --json has more.
_SHOWN = 10

_EXAMPLES = """
hookwire info --layers
hookwire --json info | jq '.model.layers[5].key_value_source'
"""


@subcommand("info", examples=_EXAMPLES)
@click.option("--layers", is_flag=True, help="Show the sizes of each layer.")
def command(settings: Settings, layers: bool) -> None:
    """Show the model and the server."""
    output = settings.output()
    with settings.connect() as model:
        cfg, server, load = model.cfg, model.server, model.server_load()
    if output.json:
        output.document({"model": asdict(cfg), "server": asdict(server), "load": asdict(load)})
        return
    output.facts(_model(cfg))
    output.line()
    output.facts([*_server(server), ("now", _now(load))])
    if layers:
        output.line()
        _show_layers(output, cfg)


def _model(cfg: Config) -> list[tuple[str, str]]:
    full = [str(at) for at, kind in enumerate(cfg.layer_types) if kind == "full_attention"]
    facts = [
        ("model", f"{cfg.model_name} ({cfg.variant}, {cfg.architecture})"),
        ("parameters", f"{cfg.n_params:,}"),
        ("weights", cfg.weights_digest),
        ("layers", f"{cfg.n_layers} of width {cfg.d_model}, MLPs of {cfg.d_mlp}"),
        ("heads", f"{cfg.n_heads} queries, {cfg.n_key_value_heads} keys and values"),
        ("attention", f"window of {cfg.sliding_window}; full in {', '.join(full) or 'no layer'}"),
        ("vocabulary", f"{cfg.d_vocab:,}"),
        ("context", f"{cfg.n_ctx:,} tokens"),
    ]
    if cfg.n_key_value_shared_layers:
        facts.append(("shared keys", f"the last {cfg.n_key_value_shared_layers} layers"))
    if cfg.d_per_layer_input:
        facts.append(("per-layer embeddings", f"width {cfg.d_per_layer_input}"))
    if cfg.n_experts:
        facts.append(
            (
                "experts",
                f"{cfg.n_experts} of width {cfg.d_expert}, {cfg.n_experts_per_token} a token",
            )
        )
    if cfg.n_unread_tensors:
        facts.append(("not read", _unread(cfg)))
    if cfg.n_unread_files:
        facts.append(("not read", _unread_files(cfg)))
    return facts


def _unread(cfg: Config) -> str:
    """The tensors of the checkpoint that no part of the model reads."""
    count, shown = cfg.n_unread_tensors, cfg.unread_tensors[:_SHOWN]
    are = "tensor of the checkpoint is" if count == 1 else "tensors of the checkpoint are"
    return f"{count:,} {are} not read: {_listed(shown, count)}"


def _unread_files(cfg: Config) -> str:
    """The weight files in the checkpoint's directory that the server does not read."""
    count, shown = cfg.n_unread_files, cfg.unread_files[:_SHOWN]
    are = "file beside the model's is" if count == 1 else "files beside the model's are"
    return f"{count:,} weight {are} not read: {_listed([_file(file) for file in shown], count)}"


def _file(file: UnreadFile) -> str:
    if file.n_tensors is None:
        return file.name
    return f"{file.name} ({file.n_tensors:,} tensor{'' if file.n_tensors == 1 else 's'})"


def _listed(shown: Sequence[str], count: int) -> str:
    more = count - len(shown)
    return f"{', '.join(shown)}{f' and {more:,} more' if more else ''}"


def _server(server: ServerInfo) -> list[tuple[str, str]]:
    limit = size(server.max_result_bytes) if server.max_result_bytes else "any size"
    return [
        ("server", f"{server.address}, build {server.build}"),
        ("computes", f"{server.dtype}, numerics={server.numerics}, {server.device}"),
        ("threads", str(server.threads)),
        ("a run", f"up to {server.max_tokens:,} tokens, results up to {limit}"),
        ("capabilities", ", ".join(sorted(server.capabilities)) or "–"),
    ]


def _now(load: ServerLoad) -> str:
    return (
        f"{load.running_runs} runs, {load.waiting_runs} waiting,"
        f" {size(load.buffered_bytes)} to be read"
    )


def _show_layers(output: Output, cfg: Config) -> None:
    output.table(
        ["layer", "attention", "heads", "kv heads", "d_head", "d_mlp", "scalar", "keys of"],
        [
            [
                str(number),
                layer.attention_type.removesuffix("_attention"),
                str(layer.n_heads),
                str(layer.n_key_value_heads),
                str(layer.d_head),
                str(layer.d_mlp),
                f"{layer.layer_scalar:g}",
                "itself" if layer.key_value_source is None else f"layer {layer.key_value_source}",
            ]
            for number, layer in enumerate(cfg.layers)
        ],
        right=(0, 2, 3, 4, 5, 6),
    )
