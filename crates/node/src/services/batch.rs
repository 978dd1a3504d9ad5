//! Many requests in one call: they go into the log together, and the call's own cost is shared.

use api::v1::hold_request::Request as Asked;
use api::v1::hold_response::Response as Answer;
use api::v1::lease_service_client::LeaseServiceClient as Client;
use api::{status, v1};
use quota::{Command, Reply};
use tonic::Status;

use super::lease::Reporting;
use super::{ANSWER_BYTES, Context, refuse};
use crate::gate::Call;

/// Most requests of one call.
const MAX_REQUESTS: usize = 1_024;

/// How what comes of a request is told.
enum Told {
    Grant,
    Returned,
    Reported(Reporting),
}

/// How many requests a call makes.
///
/// # Errors
/// Where they are too many.
pub(super) fn count(message: &v1::LeaseBatchRequest) -> Result<u32, Status> {
    match message.requests.len() {
        count @ ..=MAX_REQUESTS => Ok(count as u32),
        count => {
            let expected = format!("at most {MAX_REQUESTS}");
            Err(refuse("requests", count, expected))
        }
    }
}

impl Context {
    pub async fn batch(
        &self,
        call: &Call,
        message: v1::LeaseBatchRequest,
    ) -> Result<v1::LeaseBatchResponse, Status> {
        self.lead(
            call,
            message,
            |context, message| async move { context.batch_here(message).await },
            |channel, request| async {
                let client = Client::new(channel);
                let mut client = client.max_decoding_message_size(ANSWER_BYTES);
                client.lease_batch(request).await
            },
        )
        .await
    }

    async fn batch_here(
        &self,
        message: v1::LeaseBatchRequest,
    ) -> Result<v1::LeaseBatchResponse, Status> {
        let mut commands = Vec::with_capacity(message.requests.len());
        let mut asked = Vec::with_capacity(message.requests.len());
        for v1::HoldRequest { tag, request } in message.requests {
            let read = self.read(request).await.map(|(command, told)| {
                commands.push(command);
                told
            });
            asked.push((tag, read));
        }
        let outcomes = self.core.propose_all(commands).await;
        let mut outcomes = outcomes.map_err(|error| self.failed(error))?.into_iter();
        let responses = asked.into_iter().map(|(tag, read)| {
            let answer = read.and_then(|told| match outcomes.next() {
                Some(Ok(reply)) => self.tell(told, reply),
                Some(Err(refusal)) => Err(status::refused(&refusal)),
                None => Err(status::Reason::Internal
                    .because("there was no answer")
                    .into()),
            });
            let answer = answer.unwrap_or_else(|why| Answer::Failure(status::failure(&why)));
            v1::HoldResponse {
                tag,
                response: Some(answer),
            }
        });
        Ok(v1::LeaseBatchResponse {
            responses: responses.collect(),
        })
    }

    /// The command that a request is, where its fields are good.
    async fn read(&self, request: Option<Asked>) -> Result<(Command, Told), Status> {
        let (command, told) = match request {
            Some(Asked::Lease(take)) => (Command::Take(take.into()), Told::Grant),
            Some(Asked::Renew(renew)) => (Command::Renew(renew.into()), Told::Grant),
            Some(Asked::Return(give)) => (Command::Return(give.into()), Told::Returned),
            Some(Asked::Report(report)) => {
                let (command, asked) = self.read_report(report).await?;
                (command, Told::Reported(asked))
            }
            None => return Err(nothing()),
        };
        command
            .check()
            .map_err(|refusal| status::refused(&refusal))?;
        Ok((command, told))
    }

    fn tell(&self, told: Told, reply: Reply) -> Result<Answer, Status> {
        match told {
            Told::Grant => api::grant(reply).map(Answer::Grant),
            Told::Returned => api::returned(reply).map(Answer::Returned),
            Told::Reported(asked) => self.tell_report(asked, reply).map(Answer::Reported),
        }
    }
}

/// The refusal of a message without a request in it.
fn nothing() -> Status {
    refuse(
        "request",
        "nothing",
        "one of lease, renew, report and return",
    )
}
