"""From a trained spiking network to fixed-point hardware, and the truth about what arrives there.

Recordings
    load_dataset        a data set's split as labelled frames
    read_events         the events of one file
    bin_events          events to counts [T, P, H, W]
    Frames              counts of N recordings, stored sparsely; from_dense takes an array [N, T, P, H, W]
    LabelledFrames      frames with their classes; from_dense takes arrays
    Preprocessing       how counts become frame values
    find_preprocessing  that, with the scale found in the training recordings

Networks and training
    load_architecture   a built-in network, or one of your own from YAML
    Architecture        the network's layers
    fit                 train: find the frames' scale, build the network, keep the best epoch
    fit_all             train several networks, such as one per seed
    TrainingRun         what one of them is trained on and with
    TrainingSettings    method, epochs, learning rate, seed, ...
    evaluate            accuracy with surrogate and with hard spikes, and the gap between them
    Checkpoint          a trained network
    load_checkpoint, save_checkpoint

Networks from elsewhere
    from_nir            a NIR file as a network that compile takes
    from_lava           a lava-dl .net file, as such a network
    from_module         a live torch network, as such a network, its spikes compared
    Framing             what its recordings are: data set, time bins, clip, classes
    ImportedNetwork     a network as a graph, with its semantics
    load_network, save_network

Hardware
    load_profile        a built-in hardware profile, or one of your own from YAML
    HardwareProfile     what a chip offers
    compile             a checkpoint's integer program on a profile
    Compilation         that program, and the report that a port needs

Integer programs
    Program             all that is needed to run a network exactly
    load_program, save_program
    simulate            a program on an array or on frames; exact, on every engine
    RunResult           classes, scores, operations, spikes and traces of every recording
    summarise           accuracy, operations, rates and speed of a run as plain values
    export_c            a program as C99 source
    CExport             what was written, and the bytes that it takes
    export_nir          a program's real values as a NIR file
    NirExport           what was written, what is lost, and the spikes that differ
    export_vectors      a program's integers at every step, as files
    VectorsExport       what was written
    export_verilog      a program as a synthesizable core
    VerilogExport       what was written, and the clocks and bits that it takes
    verify              every engine on a program, compared integer by integer
    Verification        what was compared, and the first difference

Errors
    SastdeployError     the base of all
    InputError          a file or an option that you can fix
    CompileError        this network does not fit this hardware
    SimulationError     a valid program could not be run

The road in six lines::

    from sastdeploy import compile, evaluate, fit, load_dataset, simulate, summarise

    training, validation, test = (load_dataset("nmnist-sim", split) for split in ("train", "validation", "test"))
    checkpoint = fit(training, validation, "fc_0p40m", out="ckpt.pt")
    program = compile(checkpoint, "loihi_int8").program
    result = simulate(program, test)
    print(evaluate(checkpoint, test).gap, summarise(program, result, test.labels)["accuracy"])

These names are stable: what changes in a 0.x version is in the changelog. Modules below the package may move.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "load_dataset": "recordings.splits",
    "read_events": "recordings.reading",
    "bin_events": "recordings.binning",
    "Frames": "recordings.frames",
    "LabelledFrames": "recordings.frames",
    "Preprocessing": "recordings.preprocessing",
    "load_architecture": "networks.builtin",
    "Architecture": "networks.architecture",
    "find_preprocessing": "training.fit",
    "fit": "training.fit",
    "fit_all": "training.fit",
    "TrainingRun": "training.run",
    "TrainingSettings": "training.settings",
    "evaluate": "training.inference",
    "Checkpoint": "networks.checkpoint",
    "load_checkpoint": "networks.checkpoint",
    "save_checkpoint": "networks.checkpoint",
    "from_nir": "exchange.nir.load",
    "from_lava": "exchange.lava.load",
    "from_module": "exchange.torch_modules",
    "Framing": "exchange.framing",
    "ImportedNetwork": "compiler.imported",
    "load_network": "compiler.imported",
    "save_network": "compiler.imported",
    "load_profile": "compiler.profiles",
    "HardwareProfile": "compiler.profiles",
    "compile": "compiler.compile",
    "Compilation": "compiler.compile",
    "Program": "program.records",
    "load_program": "program.file",
    "save_program": "program.file",
    "simulate": "simulator.simulate",
    "RunResult": "simulator.result",
    "summarise": "simulator.metrics",
    "export_c": "exchange.c99.export",
    "CExport": "exchange.c99.export",
    "export_nir": "exchange.nir.export",
    "NirExport": "exchange.nir.export",
    "export_vectors": "exchange.vectors.export",
    "export_verilog": "exchange.verilog.export",
    "VectorsExport": "exchange.vectors.export",
    "VerilogExport": "exchange.verilog.export",
    "verify": "verification.verify",
    "Verification": "verification.verify",
    "SastdeployError": "errors",
    "InputError": "errors",
    "CompileError": "errors",
    "SimulationError": "errors",
}
"""Where each public name is defined; it is imported when it is first asked for."""

if TYPE_CHECKING:
    from sastdeploy.compiler.compile import Compilation, compile
    from sastdeploy.compiler.imported import ImportedNetwork, load_network, save_network
    from sastdeploy.compiler.profiles import HardwareProfile, load_profile
    from sastdeploy.errors import CompileError, InputError, SastdeployError, SimulationError
    from sastdeploy.exchange.c99.export import CExport, export_c
    from sastdeploy.exchange.framing import Framing
    from sastdeploy.exchange.lava.load import from_lava
    from sastdeploy.exchange.nir.export import NirExport, export_nir
    from sastdeploy.exchange.nir.load import from_nir
    from sastdeploy.exchange.torch_modules import from_module
    from sastdeploy.exchange.vectors.export import VectorsExport, export_vectors
    from sastdeploy.exchange.verilog.export import VerilogExport, export_verilog
    from sastdeploy.networks.architecture import Architecture
    from sastdeploy.networks.builtin import load_architecture
    from sastdeploy.networks.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from sastdeploy.program.file import load_program, save_program
    from sastdeploy.program.records import Program
    from sastdeploy.recordings.binning import bin_events
    from sastdeploy.recordings.frames import Frames, LabelledFrames
    from sastdeploy.recordings.preprocessing import Preprocessing
    from sastdeploy.recordings.reading import read_events
    from sastdeploy.recordings.splits import load_dataset
    from sastdeploy.simulator.metrics import summarise
    from sastdeploy.simulator.result import RunResult
    from sastdeploy.simulator.simulate import simulate
    from sastdeploy.training.fit import find_preprocessing, fit, fit_all
    from sastdeploy.training.inference import evaluate
    from sastdeploy.training.run import TrainingRun
    from sastdeploy.training.settings import TrainingSettings
    from sastdeploy.verification.verify import Verification, verify
else:
    # Hidden from type checkers: to them a module with __getattr__ has every name.
    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module 'sastdeploy' has no attribute {name!r}")
        value = getattr(_import_module(f"sastdeploy.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "Architecture",
    "CExport",
    "Checkpoint",
    "Compilation",
    "CompileError",
    "Frames",
    "Framing",
    "HardwareProfile",
    "ImportedNetwork",
    "InputError",
    "LabelledFrames",
    "NirExport",
    "Preprocessing",
    "Program",
    "RunResult",
    "SastdeployError",
    "SimulationError",
    "TrainingRun",
    "TrainingSettings",
    "VectorsExport",
    "Verification",
    "VerilogExport",
    "bin_events",
    "compile",
    "evaluate",
    "export_c",
    "export_nir",
    "export_vectors",
    "export_verilog",
    "find_preprocessing",
    "fit",
    "fit_all",
    "from_lava",
    "from_module",
    "from_nir",
    "load_architecture",
    "load_checkpoint",
    "load_dataset",
    "load_network",
    "load_profile",
    "load_program",
    "read_events",
    "save_checkpoint",
    "save_network",
    "save_program",
    "simulate",
    "summarise",
    "verify",
]
