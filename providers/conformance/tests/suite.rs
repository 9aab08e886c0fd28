//! The suite itself: a provider that breaks a promise is caught by the check of it, and so is an excuse for what can be shown.

#[path = "../../fake/tests/conformance/account.rs"]
mod account;
mod sins;

use std::collections::BTreeSet;
use std::path::Path;

use account::InMemory;
use portolan_conformance::{checks, run};
use sins::*;

/// `NAME: CHECK of SINNER says WORDS`, a test that the check fails with these words.
macro_rules! caught {
    ($($name:ident: $check:ident of $sinner:ident says $words:literal;)*) => {
        $(
            #[tokio::test(start_paused = true)]
            #[should_panic(expected = $words)]
            async fn $name() {
                run::<InMemory<$sinner>>(stringify!($name), checks::$check).await;
            }
        )*
    };
}

caught! {
    a_second_object: what_is_created_twice_is_there_once of ForgetsTokens says "creates of the same have made 2";
    a_delete_that_fails: what_is_deleted_twice_is_gone of MissesWhatIsGone says "Delete is refused";
    data_lost: data_outlives_a_delete_until_it_is_erased of Erases says "a delete has lost its data";
    a_short_list: a_part_is_never_told_as_the_whole of TellsAPart says "a part is told as the whole";
    an_excuse_of_who_reads_in_pages: a_part_is_never_told_as_the_whole of ReadsInPages says "a look is 2 requests";
    a_foreign_object_overwritten: what_is_foreign_is_told_and_left_alone of TakesOver says "is not refused";
    a_source_ignored: what_another_source_wrote_is_told_and_left_alone of TakesOver says "is not refused";
    an_etag_left_out: what_somebody_wrote_since_is_not_overwritten of LeavesOutEtags says "overwrites what somebody wrote";
    an_excuse_for_etags: what_somebody_wrote_since_is_not_overwritten of DeniesEtags says "a look tells an etag";
    a_name_that_is_refused: names_are_a_function_injective_and_taken of LongNames says "is a name that the platform refuses";
    an_excuse_for_targets: names_are_a_function_injective_and_taken of DeniesTargets says "two Targets share no place";
    an_unsteady_rendering: the_same_is_rendered_for_the_same of Unsteady says "the same is rendered otherwise";
    a_default_told_as_drift: what_the_platform_fills_in_is_no_difference of SeesDefaults says "nobody has changed";
    an_excuse_for_defaults: what_the_platform_fills_in_is_no_difference of DeniesDefaults says "the platform has filled in";
    a_quota_told_as_nonsense: failures_are_told_as_what_they_are of Misnames says "Full is told as";
    an_excuse_for_throttling: failures_are_told_as_what_they_are of DeniesThrottle says "looks at once";
    a_provider_that_tries_again: no_request_is_sent_twice_in_a_call of TriesAgain says "one call has sent this twice";
    an_excuse_for_operations: a_long_operation_is_taken_up_by_its_handle of DeniesOperations says "writes answer handles";
    a_job_repeated: a_job_is_not_repeated of Reruns says "the same job ran";
    tags_lost: a_lost_journal_is_rebuilt_from_the_tags of LosesTags says "the generation is not read from the tags";
    notes_lost: what_is_held_is_remembered_by_the_target of LosesNotes says "is tried again";
    a_table_that_lies: what_the_table_calls_exact_is_observed of CallsAllExact says "scale.max is called exact";
    a_table_with_a_hole: the_table_names_every_field of KnowsServicesOnly says "no row speaks of";
}

#[tokio::test(start_paused = true)]
async fn what_a_table_calls_impossible_is_refused_for_it() {
    run::<InMemory<HasNoUsers>>("impossible", checks::what_the_table_calls_impossible_is_refused).await;
    run::<InMemory<HasNoUsers>>("exact", checks::what_the_table_calls_exact_is_observed).await;
}

/// The list in the macro is all there is.
#[test]
fn every_check_is_run() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: &Path| std::fs::read_to_string(path).expect("a source");
    let files = std::fs::read_dir(source.join("checks"))
        .expect("checks")
        .map(|entry| entry.expect("a file").path());
    let texts: Vec<String> = files.map(|path| read(&path)).collect();
    let checks = texts.iter().flat_map(|text| text.split("\npub async fn ").skip(1));
    let written: BTreeSet<&str> = checks.filter_map(|text| text.split(['<', '(']).next()).collect();
    let lib = read(&source.join("lib.rs"));
    let list = lib
        .split("[$($($attribute)*)?]")
        .nth(1)
        .and_then(|rest| rest.split('}').next())
        .expect("the list");
    let run: BTreeSet<&str> = list.split_whitespace().collect();
    assert_eq!(written, run, "left: written, right: run");
}
