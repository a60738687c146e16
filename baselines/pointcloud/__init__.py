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
]
