//! Mutants: bugs that Portolan had, or that users of its peers met, put back by a test to see that it is caught.
//!
//! Where the shipped code keeps from a bug there is a condition, [`Mutant::is_on`]. It can be true only in builds with debug
//! assertions, and only on the thread that holds what [`Mutant::put_back`] answers; in all other builds it is the
//! constant `false`. `tests/tests/mutants.rs` puts back one after the other.

/// The table: a name, what goes wrong, and the failures of peers that it stands for.
macro_rules! mutants {
    ($($name:ident: $wrong:literal $([$peer:literal])?;)*) => {
        /// One bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $(#[doc = $wrong] $name,)*
        }

        impl Mutant {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What goes wrong.
            pub fn wrong(self) -> &'static str {
                match self {
                    $(Self::$name => $wrong,)*
                }
            }

            /// Issues of peers that it stands for.
            pub fn peers(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => None $(.or(Some($peer)))?,)*
                }
            }
        }
    };
}

mutants! {
    // Names, and whose objects they are.
    NamesAreCutBlindly: "a long name is cut where it is too long, and has no hash" ["waypoint-examples#132"];
    NamesAreNotCut: "a name may be longer than the platform allows" ["flux2#2004"];
    ForeignObjectsAreTaken: "what bears no tag of ours is updated because it has our name";

    // What is read.
    PartialReadsAreWhole: "what a partial or empty list does not show is taken for absent" ["argo-cd#14318"];
    DefaultsAreDrift: "what the platform fills in by itself is taken for drift" ["provider-aws#2197"];
    OrderIsDrift: "another order of a list is taken for drift" ["provider-aws#2197"];
    CaseIsDrift: "another case of a word is taken for drift" ["provider-aws#2197"];
    ReadsShowEveryWrite: "a read after a write is believed to show it";
    OldPassesForNew: "what looks as it shall be is believed, though it looked so before it was changed and changed back";
    TheJournalIsNotAsked: "what a run before may have written a moment ago is not reckoned with" ["upjet#561"];
    NamesAreNotAskedFor: "what was applied is looked for in lists alone, which leave out what drains";
    DrainingIsGone: "what is on its way out is taken for gone";
    WhatIsWrittenAgainIsBelieved: "a read after a second write to an object is believed at once, though the object may look as it did before it was changed";
    DriftMeanwhileIsNotSeen: "what is lost while others get ready is not seen";

    // What is written, when, and how often.
    IntentsAreNotNoted: "a create that is not safe to repeat has no intent" ["upjet#561"];
    IntentsAreNotAwaited: "the call is made before its intent is durable" ["upjet#561"];
    IntentsAreForgotten: "an intent is closed, and the create sent anew, before the first can have come to light" ["upjet#561"];
    GenerationsAreNotAwaited: "the first call is made before the generation is durable";
    TokensRepeat: "a create after a removal by hand bears the token of the first";
    EdgesAreNotAwaited: "a step does not wait for what it comes after";
    PrunesDoNotWait: "what is no longer desired goes before what is takes its place";
    LeavingObjectsAreUpdated: "what is on its way out is updated, and the refusal is final";
    EtagsAreLeftOut: "a write does not say what it was made from, and what somebody else wrote since is lost";
    JobsRunAgain: "a job that has run is run again";
    VolumesGoInPassing: "what holds data is deleted with the rest";
    DeletesAreForWorkloads: "a delete leaves the network, balancers and volumes" ["waypoint#805"];
    HoldersOfLeasesDoNotLook: "whoever had the lease writes on after it";

    // When it is over.
    DeadlinesWaitForALook: "a question that nobody answers is given up only if something else is waited for";
    PatienceHasNoEnd: "failures are not counted, and what never gets ready is waited for without end" ["copilot-cli#1879"];
    PatienceIsShort: "the wait is shorter than what is waited for may take" ["kamal#915"];
    StartingIsReady: "what has been taken is said to be ready";
    OperationsAreNotAwaited: "converged is said while a long operation goes on, which may yet fail";
    RefusalsArePassedOver: "a refused write is passed over, and success is said without it" ["amazon-ecs-cli#21"];
    ConflictsFailAtOnce: "after a time-out the retry meets its own operation, and fails" ["azure-container-apps#1657"];
    OldFailuresCount: "what failed before the update counts against it";
    LossesAreFailures: "a generation fails for what was lost while it got ready, as when nobody looks after this machine for a moment";
    PutsDoNotTryAgain: "on this machine, what has failed is put again and not tried again";

    // What is remembered.
    FailuresAreNotHeld: "the loop tries again what has failed";
    HoldsAreNotNoted: "what has failed is remembered by the journal alone";
    HoldsAreNotHeard: "whoever has lost the journal tries again what the target remembers to have failed";
    HoldsOutlastTheirEnd: "the target remembers what has failed after something newer has converged";
    FailuresAreNotRolledBack: "what has failed stays, though something served before";
    WhatServesInPlaceIsLeftAlone: "drift of what serves in place of a held generation is not mended";
    RollbacksAreNotResumed: "a rollback that was cut off is not finished";
    RollbacksAreForWorkloads: "a rollback leaves the balancer's new port" ["copilot-cli#4838"];
    TheInventoryAdvancesEarly: "a generation counts as converged when it begins" ["kustomize-controller#1664"];
    StatusIsEarly: "the status tells a generation that is aimed at and not begun";
    GenerationsAreKeptForEver: "old generations are never deleted" ["amazon-ecs-plugin#149"];
    EvidenceHasNoEnd: "all that a platform says of a failure is written down";

    // How often the platform is asked.
    BudgetsHaveNoEnd: "tries are not counted against the account's budget" ["provider-azure#219"];
    RetryAfterIsIgnored: "the time that the platform names is not waited for" ["provider-azure#219"];
    TokensOutlastPauses: "whoever has a token calls, though the platform wants to be left alone";
}

#[cfg(debug_assertions)]
mod switch {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    impl Mutant {
        /// Whether this bug is there. One short condition for each place that keeps from it.
        #[inline]
        pub fn is_on(self) -> bool {
            ON.get() == Some(self)
        }

        /// Puts the bug back on this thread, for as long as the answer lives.
        pub fn put_back(self) -> PutBack {
            ON.set(Some(self));
            PutBack(())
        }
    }

    /// The bug is gone with it.
    #[must_use]
    pub struct PutBack(());

    impl Drop for PutBack {
        fn drop(&mut self) {
            ON.set(None);
        }
    }
}

#[cfg(debug_assertions)]
pub use switch::PutBack;

#[cfg(not(debug_assertions))]
impl Mutant {
    #[inline(always)]
    pub const fn is_on(self) -> bool {
        false
    }
}

#[cfg(not(debug_assertions))]
const _: () = assert!(!Mutant::NamesAreNotCut.is_on(), "shipped code has no mutants");

#[cfg(test)]
#[cfg(debug_assertions)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_is_there_on_its_thread_while_it_is_held() {
        let one = Mutant::NamesAreNotCut;
        let held = one.put_back();
        assert!(one.is_on() && !Mutant::CaseIsDrift.is_on());
        let elsewhere = std::thread::spawn(move || one.is_on());
        assert!(!elsewhere.join().unwrap(), "another thread has none");
        drop(held);
        assert!(!one.is_on());
    }
}
