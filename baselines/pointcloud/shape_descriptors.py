"""Classical shape descriptors: no learning, no weights; independent of the heading.

- D2 shape distribution: the histogram of distances between points of the surface. Osada,
  Funkhouser, Chazelle, Dobkin, Shape distributions, ACM TOG 21(4), 2002. All pairs are taken
  instead of random ones, so that nothing is drawn by chance.
- Shape histogram in cylindrical coordinates: height by distance from the vertical axis. Ankerst,
  Kastenmüller, Kriegel, Seidl, 3D shape histograms for similarity search and classification in
  spatial databases, SSD 1999 (with cylinders in the place of their shells and sectors).
- Eigenvalue features of the covariance, of the whole shape and of every point's neighbourhood
  (mean, deviation and quantiles over the points). Weinmann, Jutzi, Hinz, Mallet, Semantic point
  cloud interpretation based on optimal neighborhoods, ISPRS 105, 2015, section 3.3.
- Fast point feature histograms, mean and deviation over the points. Rusu, Blodow, Beetz, Fast point
  feature histograms (FPFH) for 3D registration, ICRA 2009; computed by Open3D.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch

from baselines.pointcloud.open3d_import import import_open3d
from baselines.pointcloud.sampling import farthest_points

EPS = 1e-12


def d2_histogram(points: torch.Tensor, bins: int = 64) -> torch.Tensor:
    """Share of point pairs per distance bin over [0, 2]: (N, 3) in the unit sphere -> (bins,)."""
    distances = torch.cdist(points, points, compute_mode="use_mm_for_euclid_dist")
    binned = (distances * (bins / 2)).long().clamp(0, bins - 1)
    own = binned.diagonal()
    counts = torch.bincount(binned.flatten(), minlength=bins) - own.bincount(minlength=bins)
    return counts.float() / max(len(points) * (len(points) - 1), 1)


def cylinder_histogram(
    points: torch.Tensor, up: int, heights: int = 8, rings: int = 4
) -> torch.Tensor:
    """Share of points per height and ring: (N, 3) in the unit sphere -> (heights * rings,)."""
    ground = [axis for axis in range(3) if axis != up]
    level = ((points[:, up] + 1) / 2 * heights).long().clamp(0, heights - 1)
    ring = (points[:, ground].norm(dim=1) * rings).long().clamp(0, rings - 1)
    counts = torch.bincount(level * rings + ring, minlength=heights * rings)
    return counts.float() / len(points)


def eigenvalue_features(eigenvalues: torch.Tensor) -> torch.Tensor:
    """Ascending covariance eigenvalues (..., 3) -> (..., 7).

    Linearity, planarity, scattering, omnivariance, anisotropy, eigenentropy, change of curvature,
    all of the eigenvalues divided by their sum (Weinmann et al. 2015, table 1). A neighbourhood
    without extent gives zeros.
    """
    values = eigenvalues.clamp(min=0)
    total = values.sum(-1, keepdim=True)
    c, b, a = (values / total.clamp(min=EPS)).unbind(-1)
    largest = a.clamp(min=EPS)
    entropy = -sum(torch.special.xlogy(e, e) for e in (a, b, c))
    features = [
        (a - b) / largest,
        (b - c) / largest,
        c / largest,
        (a * b * c).pow(1 / 3),
        (a - c) / largest,
        entropy,
        c,
    ]
    return torch.where(total > EPS, torch.stack(features, -1), 0.0)


def covariance_eigenvalues(groups: torch.Tensor) -> torch.Tensor:
    """Ascending eigenvalues (..., 3) of the covariance of point groups (..., K, 3)."""
    centred = groups.double() - groups.double().mean(-2, keepdim=True)
    return torch.linalg.eigvalsh(centred.mT @ centred / groups.shape[-2])


def pooled(features: torch.Tensor) -> torch.Tensor:
    """Mean, standard deviation and quantiles over the points: (N, F) -> (5 F,)."""
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=features.dtype)
    quantiles = torch.quantile(features, levels, dim=0).flatten()
    return torch.cat([features.mean(0), features.std(0, correction=0), quantiles])


def position_features(places: torch.Tensor) -> torch.Tensor:
    """Coordinates, absolute values, products of two and distance: (n, 3) -> (n, 13).

    Shapes are often symmetric, and a linear layer on coordinates alone cannot tell an end from the
    middle.
    """
    x, y, z = places.unbind(1)
    products = torch.stack([x * x, y * y, z * z, x * y, x * z, y * z], 1)
    return torch.cat([places, places.abs(), products, places.norm(dim=1, keepdim=True)], 1)


class ShapeDescriptors(torch.nn.Module):
    """Points (B, N, 3) in the unit sphere -> descriptors (B, 242).

    `patches` describe places that are spread over the shape: the eigenvalue features and the FPFH
    of the place's neighbourhood, and where in the shape it is.

    Args:
        up: the axis that points up (0, 1, 2).
        points: points that the pairwise and local descriptors use; more are thinned out evenly.
        neighbours: neighbourhood sizes of the local eigenvalue features.
        radius: radius of the FPFH neighbourhoods, as a part of the unit sphere's.
        max_nn: the most neighbours in them.
        bins: bins of the D2 histogram.
        places: centres that `patches` describes.
    """

    modality: ClassVar[str] = "pointcloud"
    input: ClassVar[dict[str, Any]] = {"points": 1024, "normalise": "unit-sphere"}

    def __init__(
        self,
        up: int = 1,
        points: int = 512,
        neighbours: tuple[int, ...] = (10, 30),
        radius: float = 0.3,
        max_nn: int = 16,
        bins: int = 64,
        places: int = 128,
    ) -> None:
        super().__init__()
        self.places = places
        self.up, self.points, self.neighbours = up, points, neighbours
        self.radius, self.max_nn, self.bins = radius, max_nn, bins
        self.open3d = import_open3d()

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        rows = self._of_each(self._describe, points)
        return torch.stack(rows).to(points.device)

    def patches(self, points: torch.Tensor) -> dict[str, torch.Tensor]:
        """Local features (B, places, 60) and the places they stand at (B, places, 3)."""
        rows = self._of_each(self._describe_places, points)
        values, centres = (torch.stack(part).to(points.device) for part in zip(*rows, strict=True))
        return {"values": values, "centres": centres}

    def _of_each(self, describe: Callable[[torch.Tensor], Any], points: torch.Tensor) -> list[Any]:
        from threadpoolctl import ThreadpoolController

        # Open3D's and torch's OpenMP teams wait for each other on clouds this small: with two
        # threads the same work took five times as long
        with ThreadpoolController().limit(limits=1):
            return [describe(cloud) for cloud in points.detach().float().cpu()]

    def _thinned(self, cloud: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """The points that pairwise and local descriptors use, also as Open3D's cloud."""
        step = max(len(cloud) // self.points, 1)
        thin = cloud[::step][: self.points]
        positions = self.open3d.utility.Vector3dVector(thin.double().numpy())
        return thin, self.open3d.geometry.PointCloud(positions)

    def _describe_places(self, cloud: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        thin, shape = self._thinned(cloud)
        local = torch.cat([*self._local(shape), self._fpfh(shape).clamp(min=0).sqrt().T], 1)
        chosen = farthest_points(thin[None], self.places, near_origin=-1)[0]
        return torch.cat([local[chosen], position_features(thin[chosen])], 1), thin[chosen]

    def _describe(self, cloud: torch.Tensor) -> torch.Tensor:
        thin, shape = self._thinned(cloud)
        local, fpfh = self._local(shape), self._fpfh(shape)
        whole = covariance_eigenvalues(cloud)
        spread = whole.clamp(min=0).sqrt().float()
        parts = [
            d2_histogram(thin, self.bins).sqrt(),
            cylinder_histogram(cloud, self.up).sqrt(),
            spread,
            eigenvalue_features(whole).float(),
            *(pooled(f) for f in local),
            torch.cat([fpfh.mean(1), fpfh.std(1, correction=0)]).clamp(min=0).sqrt(),
        ]
        return torch.cat(parts)

    def _local(self, shape: Any) -> list[torch.Tensor]:
        """Eigenvalue features (N, 7) of every point, one tensor per neighbourhood size."""
        features = []
        for size in self.neighbours:
            shape.estimate_covariances(self.open3d.geometry.KDTreeSearchParamKNN(size))
            covariances = torch.from_numpy(np.asarray(shape.covariances).copy())
            features.append(eigenvalue_features(torch.linalg.eigvalsh(covariances)).float())
        return features

    def _fpfh(self, shape: Any) -> torch.Tensor:
        """The 33-bin FPFH of every point: (33, N).

        The normals come from the covariances of the last neighbourhood size.
        """
        shape.estimate_normals()
        search = self.open3d.geometry.KDTreeSearchParamHybrid(
            radius=self.radius, max_nn=self.max_nn
        )
        histograms = self.open3d.pipelines.registration.compute_fpfh_feature(shape, search).data
        return torch.from_numpy(np.nan_to_num(histograms).astype(np.float32))
