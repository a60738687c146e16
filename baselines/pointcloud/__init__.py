"""Cards of the pointcloud encoders (light: no encoder is imported here)."""

from benchmark.catalog import EncoderCard

ENCODERS: list[EncoderCard] = [
    EncoderCard(
        name="shape-descriptors",
        target="baselines.pointcloud.shape_descriptors:ShapeDescriptors",
        modality="pointcloud",
        title="Shape descriptors",
        kind="features",
        summary="D2 shape distribution, cylindrical shape histogram, eigenvalue features of the "
        "whole shape and of neighbourhoods, pooled FPFH",
        parameters=0,
        dimension=242,
        paper="Osada et al., Shape distributions, ACM TOG 21(4), 2002; Weinmann et al., Semantic "
        "point cloud interpretation, ISPRS 105, 2015; Rusu et al., FPFH, ICRA 2009",
        licence="Apache-2.0",
    ),
    EncoderCard(
        name="random-pointnet",
        target="baselines.pointcloud.random_pointnet:RandomPointNet",
        modality="pointcloud",
        title="PointNet, random weights",
        kind="control",
        summary="the shared perceptron and max pooling of PointNet, untrained",
        parameters=148_992,
        dimension=1024,
        paper="Qi et al., PointNet, CVPR 2017, https://arxiv.org/abs/1612.00593",
        licence="Apache-2.0",
    ),
    EncoderCard(
        name="point-nn",
        target="baselines.pointcloud.point_nn:PointNN",
        modality="pointcloud",
        slow=True,
        title="Point-NN",
        kind="features",
        summary="no parameters: farthest-point sampling, neighbours, trigonometric embeddings and "
        "pooling over four stages; scaled by each cloud's own deviation, not the batch's",
        reduced={"num_stages": 2, "k_neighbors": 16},
        parameters=0,
        dimension=1152,
        paper="Zhang et al., Parameter is not all you need, CVPR 2023, "
        "https://arxiv.org/abs/2303.08134",
        licence="MIT",
    ),
    EncoderCard(
        name="point-mae",
        target="baselines.pointcloud.point_mae:PointMAE",
        modality="pointcloud",
        title="Point-MAE",
        summary="masked autoencoder on 64 patches of 32 points; mean and maximum over the tokens",
        reduced={"depth": 2, "num_group": 16},
        parameters=21_825_024,
        dimension=768,
        paper="Pang et al., Masked autoencoders for point cloud self-supervised learning, "
        "ECCV 2022, https://arxiv.org/abs/2203.06604",
        licence="MIT",
        pretraining="masked autoencoding of ShapeNet-55, training split",
        pretraining_data=("shapenet",),
        weights="pretrain.pth from https://github.com/Pang-Yatian/Point-MAE (release `main`)",
        reported=tuple(
            f"{data}, fine-tuned (not frozen): accuracy {value} (README of Pang-Yatian/Point-MAE)"
            for data, value in (
                ("ModelNet40 (1,024 points)", 93.80),
                ("ScanObjectNN OBJ-BG", 90.02),
                ("ScanObjectNN OBJ-ONLY", 88.29),
                ("ScanObjectNN PB-T50-RS", 85.18),
            )
        ),
    ),
    EncoderCard(
        name="i2p-mae",
        target="baselines.pointcloud.i2p_mae:I2PMAE",
        modality="pointcloud",
        title="I2P-MAE",
        summary="hierarchical masked autoencoder taught by CLIP's views of the shape; maximum over "
        "the 64 tokens of the last level",
        reduced={"encoder_depths": (1, 1, 1), "num_groups": (64, 32, 16)},
        parameters=12_654_976,
        dimension=384,
        paper="Zhang et al., Learning 3D representations from 2D pre-trained models via "
        "image-to-point masked autoencoders, CVPR 2023, https://arxiv.org/abs/2212.06785",
        licence="not stated by the authors",
        pretraining="masked autoencoding of ShapeNet-55, training split, with features and "
        "saliency of CLIP ViT-B/16 on three projections as targets and masks",
        pretraining_data=("shapenet",),
        weights="pre-train.pth from https://github.com/ZrrSkywalker/I2P-MAE (Google Drive)",
        reported=(
            "ModelNet40, linear SVM (C 0.0093), accuracy 93.35 (README of ZrrSkywalker/I2P-MAE)",
            "ScanObjectNN OBJ-BG, linear SVM (C 0.018), accuracy 87.09 "
            "(README of ZrrSkywalker/I2P-MAE)",
        ),
    ),
    EncoderCard(
        name="dcglr",
        target="baselines.pointcloud.dcglr:DCGLR",
        modality="pointcloud",
        title="Distillation with contrast, DGCNN (our reading of the paper)",
        summary="the teacher's DGCNN, maximum and mean over the points; the authors published "
        "neither code nor weights, so the backbone's widths and the checkpoint format are ours",
        reduced={"widths": (16, 16, 32, 32), "width": 64},
        parameters=617_856,
        dimension=2048,
        paper="Fu et al., Distillation with contrast is all you need for self-supervised point "
        "cloud representation learning, 2022, https://arxiv.org/abs/2202.04241",
        licence="no published weights",
        pretraining="whatever the checkpoint was trained on; the authors published none",
        weights="none published; pass your own teacher in the format that "
        "baselines/pointcloud/dcglr.py describes",
        reported=(
            "no figure in the abstract; those of the paper's tables belong to weights that were "
            "never published",
        ),
    ),
    EncoderCard(
        name="ulip",
        target="baselines.pointcloud.ulip:ULIP",
        modality="pointcloud",
        title="ULIP, Point-BERT",
        summary="Point-BERT on 512 patches of 32 points, aligned with the texts and images of a "
        "frozen SLIP; zero-shot by its text tower",
        reduced={
            "num_group": 32,
            "depth": 1,
            "text_width": 64,
            "text_heads": 2,
            "text_layers": 1,
            "tokenizer": "bytes",
        },
        parameters=85_680_129,
        dimension=512,
        paper="Xue et al., ULIP: Learning a unified representation of language, images, and point "
        "clouds for 3D understanding, CVPR 2023, https://arxiv.org/abs/2212.05171",
        licence="BSD-3-Clause",
        pretraining="contrast of points, renderings and texts on ShapeNet-55, training split, from "
        "Point-BERT's pretrained weights; image and text towers of SLIP, frozen",
        pretraining_data=("shapenet", "yfcc15m"),
        weights="ULIP-1/pretrained_models/ckpt_zero-sho_classification/checkpoint_pointbert.pt "
        "from https://huggingface.co/datasets/SFXX/ulip",
        reported=(
            "ModelNet40, zero-shot, 8,192 points, 64 prompts, best checkpoint: top-1 60.3, "
            "top-5 84.0 (README of salesforce/ULIP)",
        ),
    ),
]
