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
            "growing", "relabelled", "chained", "teacher_student",
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
        "l2_init": "holdfast.methods:L2Init",
        "redo": "holdfast.methods:ReDo",
        "continual_backprop": "holdfast.methods:ContinualBackprop",
        "batch_norm": "holdfast.methods:BatchNormOnly",
        "batch_ensemble": "holdfast.methods:BatchEnsemble",
        "task_lora": "holdfast.methods:TaskLoRA",
        "lwf": "holdfast.methods:LwF",
        "agem": "holdfast.methods:AGEM",
        "gpm": "holdfast.methods:GPM",
        "wsn": "holdfast.methods:WSN",
        "apd": "holdfast.methods:APD",
        "spectral": "holdfast.methods:SpectralRegularisation",
        "weight_clipping": "holdfast.methods:WeightClipping",
        "norm_projection": "holdfast.methods:WeightNormProjection",
        "smooth_transition": "holdfast.methods:SmoothTransition",
        "hare_tortoise": "holdfast.methods:HareTortoise",
        "rifle": "holdfast.methods:Rifle",
        "halrp": "holdfast.methods.halrp:HALRP",
        "halrp_official": "holdfast.methods.halrp:official",
    },
    "start": {
        "carry_on": "holdfast.starts:CarryOn",
        "fresh": "holdfast.starts:Fresh",
        "least_squares_head": "holdfast.starts:LeastSquaresHead",
        "calibrated": "holdfast.starts:LeastSquaresHead",
        "shrink_perturb": "holdfast.starts:ShrinkPerturb",
        "reset_groups": "holdfast.starts:ResetGroups",
        "dash": "holdfast.starts:Dash",
        "rewarm": "holdfast.starts:Rewarm",
    },
    "probe": {
        "effective_rank": "holdfast.probes:EffectiveRank",
        "feature_ranks": "holdfast.probes:FeatureRanks",
        "feature_movement": "holdfast.probes:FeatureMovement",
        "feature_change": "holdfast.probes:FeatureChange",
        "units": "holdfast.probes:Units",
        "weights": "holdfast.probes:Weights",
        "tangent_kernel": "holdfast.probes:TangentKernel",
        "neural_collapse": "holdfast.probes:NeuralCollapse",
        "learner_size": "holdfast.probes:LearnerSize",
        "classical_neural_collapse": "holdfast.probes:ClassicalNeuralCollapse",
        "updates": "holdfast.probes:Updates",
        "gradient_norms": "holdfast.probes:GradientNorms",
        "gradient_noise": "holdfast.probes:GradientNoise",
        "gradient_interference": "holdfast.probes:GradientInterference",
        "trainability": "holdfast.probes:Trainability",
        "tangent_rank": "holdfast.probes:TangentRank",
        "sharpness": "holdfast.probes:Sharpness",
        "hessian_trace": "holdfast.probes:HessianTrace",
        "hessian_rank": "holdfast.probes:HessianRank",
        "curvature_change": "holdfast.probes:CurvatureChange",
    },
    "analysis": {  # of a study
        "richness": "holdfast.studies.richness:GammaAnalysis",
        "good_start": "holdfast.studies.good_start:StartAnalysis",
        "order_robustness": "holdfast.studies.order_robustness:OrderAnalysis",
        "plasticity": "holdfast.studies.plasticity:PlasticityAnalysis",
    },
}  # fmt: skip
"""Short names of the parts, by kind; anything else is taken for an import path."""
