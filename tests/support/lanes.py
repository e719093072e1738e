"""The ways in which a proxy carries WebSockets, as options."""


def lane_options(lane: str) -> dict[str, object]:
    """`auto` and `hooks` are those of `ws_lane`. `layers` is `auto` without splicing."""
    return {"ws_splice": False} if lane == "layers" else {"ws_lane": lane}
