/// Sees what a model's weight matrices are multiplied with: see [`Session::feed_observed`].
///
/// [`Session::feed_observed`]: crate::Session::feed_observed
pub trait Observer {
    /// The weight matrix `tensor`, by its name in the model's file, is about to be multiplied with these activations.
    /// Matrices come in the order in which the model uses them, and each sees every token once, in order.
    fn product(&mut self, tensor: &str, activations: Rows<'_>);

    /// The same of one of the matrices that `tensor` has for so many experts, which sees the tokens that come to it.
    fn expert(&mut self, tensor: &str, expert: usize, experts: usize, activations: Rows<'_>) {
        let _ = (expert, experts);
        self.product(tensor, activations);
    }

    /// What gradients need of a layer and a later step of it overwrites.
    #[doc(hidden)]
    fn step(&mut self, _: Step, _: Rows<'_>) {}
}

/// What a layer works out on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Queries before their norm.
    Queries,
    /// Keys before their norm.
    Keys,
    /// What attention gives, before its norm.
    Attended,
    /// The inputs of a convolution before they are gated.
    ConvInput,
    /// What the mixer's branch ends in, before its norm.
    MixerBranch,
    /// The residual stream between the mixer and the feed-forward network.
    Middle,
    /// The gate before its activation.
    Gate,
    /// What goes into the last matrix of the feed-forward network, before its norm.
    Product,
    /// What the feed-forward network's branch ends in, before its norm.
    FeedForwardBranch,
}

/// Looks away.
impl Observer for () {
    fn product(&mut self, _: &str, _: Rows<'_>) {}
}

/// Activations of some tokens, before they are quantized: for each token a row, as long as the matrix's rows.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    x: std::slice::Chunks<'a, f32>,
    width: usize,
}

impl<'a> Rows<'a> {
    /// Rows of `width` numbers, one at the start of every `stride` of `x`.
    pub(crate) fn new(x: &'a [f32], stride: usize, width: usize) -> Self {
        Self { x: x.chunks(stride), width }
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = &'a [f32];

    fn next(&mut self) -> Option<&'a [f32]> {
        self.x.next()?.get(..self.width)
    }
}
