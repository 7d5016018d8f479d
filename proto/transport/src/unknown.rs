//! What a server answers that was asked for something it has never heard of:
//! most likely by another version.

use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Response};
use tonic::{Code, Status};
use tower::util::MapResponseLayer;

/// Layer of a server of this version of skep: a refusal of an unknown method or
/// service, for which generated code has no words, names the version.
pub fn name_version(
    version: &str,
) -> MapResponseLayer<impl Fn(Response<Body>) -> Response<Body> + Clone + Send + Sync + 'static> {
    let message = format!(
        "skep {version}, which answers here, does not know what it was asked: the two sides run \
         different versions; upgrade the older one"
    );
    let message = HeaderValue::try_from(message).ok();
    MapResponseLayer::new(move |mut response: Response<Body>| {
        let headers = response.headers_mut();
        let code = headers.get(Status::GRPC_STATUS).map(HeaderValue::as_bytes);
        if code.map(Code::from_bytes) == Some(Code::Unimplemented)
            && !headers.contains_key(Status::GRPC_MESSAGE)
            && let Some(message) = &message
        {
            headers.insert(Status::GRPC_MESSAGE, message.clone());
        }
        response
    })
}
