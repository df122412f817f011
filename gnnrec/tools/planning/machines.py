"""Devices of a rank. The CPU is measured; GPUs are projected from data sheets and an assumed share of their peak.

Sources of the figures (dense, without sparsity; SXM versions):

* A100 80 GB: 2,039 GB/s, 19.5 TFLOPS float32, 312 TFLOPS bfloat16, NVLink 600 GB/s, PCIe Gen4 64 GB/s
  (NVIDIA A100 Tensor Core GPU data sheet, 2022).
* H100 80 GB: 3.35 TB/s, 67 TFLOPS float32, 989 TFLOPS bfloat16 (1,979 with sparsity), NVLink 900 GB/s, PCIe Gen5
  128 GB/s (NVIDIA H100 Tensor Core GPU data sheet, 2024).
* H200 141 GB: 4.8 TB/s, otherwise as H100 (NVIDIA H200 Tensor Core GPU data sheet, 2024).

NVLink and PCIe figures of data sheets count both directions; an all-reduce sends in one, so the table has half.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Machine:
    """A device and its host.

    Attributes:
        name: Name in tables.
        memory: Bytes of a device; 0 if it depends on the machine.
        bandwidth: Bytes per second to and from its memory; 0 if time is measured, not projected.
        flops: Operations per second of matrix products in float32.
        flops_bf16: The same in bfloat16.
        link: Bytes per second in one direction between devices of one host.
        host_link: Bytes per second in one direction between device and host memory.
        base: Bytes that libraries occupy on a device.
    """

    name: str
    memory: float
    bandwidth: float = 0.0
    flops: float = 0.0
    flops_bf16: float = 0.0
    link: float = 0.0
    host_link: float = 0.0
    base: float = 0.0

    @property
    def measured(self) -> bool:
        """Whether times are computed from measured constants."""
        return not self.bandwidth


#: A CUDA context, NCCL's buffers and cuBLAS's workspace: an assumption.
_CUDA_BASE = 1.5e9

MACHINES = {
    "cpu": Machine("one core of the CPU", memory=0.0),
    "a100": Machine("A100 80 GB SXM", 80e9, 2.039e12, 19.5e12, 312e12, 300e9, 32e9, _CUDA_BASE),
    "h100": Machine("H100 80 GB SXM", 80e9, 3.35e12, 67e12, 989e12, 450e9, 64e9, _CUDA_BASE),
    "h200": Machine("H200 141 GB SXM", 141e9, 4.8e12, 67e12, 989e12, 450e9, 64e9, _CUDA_BASE),
}
