"""``python -m holdfast.cli`` is the `holdfast` command."""

from holdfast.cli.command import main

raise SystemExit(main())
