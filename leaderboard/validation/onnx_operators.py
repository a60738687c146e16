"""The operators of ONNX's default domain that an encoder may use.

Left out: what reads files or text, trains, draws random numbers, holds sequences or optionals, and
what gives outputs whose size only the data tell (NonZero, Unique, Compress, NonMaxSuppression).
"""

OPSETS = range(13, 25)
IR_VERSIONS = range(6, 14)

ELEMENTWISE = frozenset(
    str.split("""
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast
    CastLike Ceil Celu Clip Cos Cosh Div Dropout Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual
    HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod
    Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus
    Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor""")
)
LAYERS = frozenset(
    str.split("""
    Attention AveragePool BatchNormalization Conv ConvInteger ConvTranspose CumSum DFT
    DequantizeLinear DynamicQuantizeLinear Einsum GRU Gemm GlobalAveragePool GlobalLpPool
    GlobalMaxPool GroupNormalization InstanceNormalization LRN LSTM LayerNormalization LogSoftmax
    LpNormalization LpPool MatMul MatMulInteger MaxPool MeanVarianceNormalization QLinearConv
    QLinearMatMul QuantizeLinear RMSNormalization RNN RotaryEmbedding STFT Softmax""")
)
REDUCTIONS = frozenset(
    str.split("""
    ArgMax ArgMin Hardmax ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ReduceSumSquare TopK""")
)
MOVING = frozenset(
    str.split("""
    Concat DepthToSpace Flatten Gather GatherElements GatherND GridSample OneHot Pad Reshape
    Resize ReverseSequence ScatterElements ScatterND Shape Size Slice SpaceToDepth Split Squeeze
    Tile Transpose Trilu Unsqueeze Expand""")
)
MAKING = frozenset(
    str.split("""
    BlackmanWindow Constant ConstantOfShape EyeLike HammingWindow HannWindow MelWeightMatrix
    Range""")
)
CONTROL = frozenset({"If", "Loop"})  # bounded by `onnx_model`

ALLOWED = ELEMENTWISE | LAYERS | REDUCTIONS | MOVING | MAKING | CONTROL
