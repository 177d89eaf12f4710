//! The official clients, with the documented examples word for word.

use vectoll_tests::clients::stage::Stage;
use vectoll_tests::clients::{node, python};

#[tokio::test]
async fn python_openai_client() {
    let stage = Stage::start().await.unwrap_or_else(|error| panic!("{error:#}"));
    if let Err(report) = python::tests(&stage).await {
        panic!("{report:#}");
    }
}

#[tokio::test]
async fn litellms_package() {
    let stage = Stage::start().await.unwrap_or_else(|error| panic!("{error:#}"));
    if let Err(report) = python::litellm(&stage).await {
        panic!("{report:#}");
    }
}

#[tokio::test]
async fn the_readme_in_python() {
    let stage = Stage::start().await.unwrap_or_else(|error| panic!("{error:#}"));
    match python::readme(&stage).await {
        Ok(said) => assert_eq!(said.trim(), "1536"),
        Err(report) => panic!("{report:#}"),
    }
}

#[tokio::test]
async fn node_openai_client() {
    let stage = Stage::start().await.unwrap_or_else(|error| panic!("{error:#}"));
    if let Err(report) = node::tests(&stage).await {
        panic!("{report:#}");
    }
}
