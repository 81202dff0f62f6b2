"""The short names of the parts of a configuration."""

PARTS: dict[str, dict[str, str]] = {
    "dataset": {},  # the names `holdfast.data.load` knows
    "encoder": {  # of sentences or images, in a dataset
        "minilm": "holdfast.data:minilm",
        "sentences": "holdfast.data:sentence_encoder",
        "images": "holdfast.data:image_encoder",
        "timm": "holdfast.data:timm_encoder",
    },
    "stream": {
        name: f"holdfast.streams:{name}"
        for name in (
            "split", "partition", "superclass", "omniglot_rotation", "permuted", "rotated",
            "growing", "chained", "teacher_student",
        )
    },
    "net": {
        name: f"holdfast.nets:{name}"
        for name in ("mlp", "lenet", "alexnet", "resnet18", "residual", "cnn", "vit", "lora")
    },
    "method": {
        "finetune": "holdfast.methods:Finetune",
        "joint": "holdfast.methods:Joint",
        "single_task": "holdfast.methods:SingleTask",
        "replay": "holdfast.methods:Replay",
        "derpp": "holdfast.methods:DERpp",
        "ewc": "holdfast.methods:EWC",
        "l2": "holdfast.methods:L2",
        "batch_norm": "holdfast.methods:BatchNormOnly",
        "batch_ensemble": "holdfast.methods:BatchEnsemble",
        "task_lora": "holdfast.methods:TaskLoRA",
        "lwf": "holdfast.methods:LwF",
        "agem": "holdfast.methods:AGEM",
        "gpm": "holdfast.methods:GPM",
        "wsn": "holdfast.methods:WSN",
        "apd": "holdfast.methods:APD",
        "halrp": "holdfast.methods.halrp:HALRP",
        "halrp_official": "holdfast.methods.halrp:official",
    },
    "start": {
        "carry_on": "holdfast.starts:CarryOn",
        "fresh": "holdfast.starts:Fresh",
        "least_squares_head": "holdfast.starts:LeastSquaresHead",
        "calibrated": "holdfast.starts:LeastSquaresHead",
    },
    "probe": {
        "effective_rank": "holdfast.probes:EffectiveRank",
        "feature_movement": "holdfast.probes:FeatureMovement",
        "tangent_kernel": "holdfast.probes:TangentKernel",
        "neural_collapse": "holdfast.probes:NeuralCollapse",
        "learner_size": "holdfast.probes:LearnerSize",
        "classical_neural_collapse": "holdfast.probes:ClassicalNeuralCollapse",
    },
    "analysis": {  # of a study
        "richness": "holdfast.studies.richness:GammaAnalysis",
        "good_start": "holdfast.studies.good_start:StartAnalysis",
        "order_robustness": "holdfast.studies.order_robustness:OrderAnalysis",
    },
}  # fmt: skip
"""Short names of the parts, by kind; anything else is taken for an import path."""
