"""`hiresnn publish`: a run with its audit becomes a repository on the Hugging Face hub, or a folder like it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hiresnn.cli.options import Run


def publish(
    run: Run,
    repository: Annotated[str, typer.Argument(metavar="USER/NAME", help="The repository on the hub.")],
    dry_run: Annotated[
        Path | None,
        typer.Option("--dry-run", metavar="DIR", help="Only write the files into this new folder; upload nothing."),
    ] = None,
    license: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Licence of the weights, as the hub writes it, such as mit; default: none named."
        ),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Create the repository as a private one.")] = False,
) -> None:
    """Publish a trained and audited run on the Hugging Face hub.

    The repository gets the weights (model.safetensors), the recipe, the results, the audit card with its adversarial
    images, the page of the audit, and a model card with clean accuracy, PGD, the worst case with its interval, and the
    verdict. A run is published only if its audit verifies. Uploading needs pip install 'hiresnn[hub]' and a login (hf
    auth login, or HF_TOKEN); a dry run needs neither.

    Examples:

    hiresnn publish runs/mine me/my-network --dry-run preview

    hiresnn publish runs/mine me/my-network --license mit
    """
    import tempfile

    from hiresnn.hub.publish import Publication, require_hub_id, upload, write_publication

    require_hub_id(repository)
    publication = Publication(repository, license)
    if dry_run is not None:
        files = write_publication(run, dry_run, publication)
        size = sum(file.stat().st_size for file in files)
        print(f"Wrote {len(files)} files ({size / 1024:,.0f} KiB) to {dry_run}; nothing was uploaded.")
        print(f"Next: read {dry_run / 'README.md'}; in Python: hiresnn.from_pretrained({str(dry_run.resolve())!r})")
        return
    with tempfile.TemporaryDirectory() as folder:
        files = write_publication(run, Path(folder), publication)
        address = upload(Path(folder), repository, private=private)
    print(f"Published {len(files)} files: {address}")
    print(f'Next: in Python: hiresnn.from_pretrained("{repository}")')
