//! The last requests of operators and their answers, so that a retry has one effect. Front-ends need none
//! of this: their requests are numbered.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::check::{self, invalid};
use crate::limits::{MAX_REQUEST_ID_BYTES, REMEMBERED_REQUESTS};
use crate::outcome::{Configured, HolderRemoved, Refusal, Reply};

/// The last requests, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Requests(VecDeque<Request<'static>>);

/// A request that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request<'a> {
    id: Cow<'a, str>,
    /// Checksum of what was asked, so that an id can't pass for that of another request.
    asked: u32,
    answer: Answered,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Answered {
    Configured(Configured),
    HolderRemoved(HolderRemoved),
}

impl Requests {
    /// The answer that a request got, where it was carried out before.
    pub fn answered(&self, id: &str, asked: u32) -> Result<Option<Reply>, Refusal> {
        check::text("request_id", id, MAX_REQUEST_ID_BYTES)?;
        match self.0.iter().find(|request| request.id == id) {
            None => Ok(None),
            Some(_) if mutation::on("repeat-admin") => Ok(None),
            Some(request) if request.asked == asked => Ok(Some(match request.answer.clone() {
                Answered::Configured(configured) => Reply::Configured(configured),
                Answered::HolderRemoved(removed) => Reply::HolderRemoved(removed),
            })),
            Some(_) => {
                let expected = "one that no other request has had";
                Err(invalid("request_id", format!("{id:?}"), expected))
            }
        }
    }

    /// Remembers a configuration.
    pub fn configured(&mut self, id: &str, asked: u32, answer: Configured) {
        self.remember(id, asked, Answered::Configured(answer));
    }

    /// Remembers the removal of a holder.
    pub fn holder_removed(&mut self, id: &str, asked: u32, answer: HolderRemoved) {
        self.remember(id, asked, Answered::HolderRemoved(answer));
    }

    fn remember(&mut self, id: &str, asked: u32, answer: Answered) {
        if self.0.len() == REMEMBERED_REQUESTS {
            self.0.pop_front();
        }
        let id = Cow::Owned(id.into());
        self.0.push_back(Request { id, asked, answer });
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Request<'_>> {
        self.0.iter().map(|request| Request {
            id: Cow::Borrowed(&request.id),
            asked: request.asked,
            answer: request.answer.clone(),
        })
    }

    /// Those of a snapshot, or `None` where there are too many or two of one name.
    pub fn restore(requests: Vec<Request<'_>>) -> Option<Self> {
        let ids: std::collections::BTreeSet<&str> =
            requests.iter().map(|request| &*request.id).collect();
        if ids.len() != requests.len() || requests.len() > REMEMBERED_REQUESTS {
            return None;
        }
        let owned = requests.into_iter().map(|request| Request {
            id: Cow::Owned(request.id.into_owned()),
            ..request
        });
        Some(Self(owned.collect()))
    }
}
