//! Messages on the wire, as protocol buffers.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

/// What a buffer has room for at first, in bytes. Each call takes two of them, and what a lease's calls carry takes a
/// third of this; for longer messages they grow.
const BUFFER_BYTES: usize = 512;
/// Messages of a stream go out together until they take so many bytes.
const YIELD_BYTES: usize = 32 << 10;

/// The codec of all services. tonic's own takes 8 KiB for each buffer.
#[derive(Debug, Clone)]
pub struct Proto<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Proto<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Proto<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(settings())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(settings())
    }
}

fn settings() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
}
