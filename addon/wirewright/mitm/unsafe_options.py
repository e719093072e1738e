"""Options of mitmproxy that no proxy of Wirewright's may have."""

from mitmproxy import ctx, exceptions

LEAKED_KEY_OPTIONS = ("emudhra", "emudhra_old")
"""Options of mitmproxy 12.3 that sign with the leaked key of a public authority."""


class UnsafeOptionsCheck:
    """Refuses these options, whether they are set at the start or later."""

    name = "wirewright-unsafe-options"

    def configure(self, updated: set[str]) -> None:
        # Not only those in `updated`: a configuration file may have set one before this addon was added.
        for name in LEAKED_KEY_OPTIONS:
            if getattr(ctx.options, name, False):
                raise exceptions.OptionsError(
                    f"{name}: Wirewright does not sign with the leaked key of a public authority. Make the "
                    "app trust the CA of mitmproxy (docs/clients.md)"
                )
