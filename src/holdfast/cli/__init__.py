from holdfast.cli.command import main as main
