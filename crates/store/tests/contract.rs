//! The promises of `doorward_core::store`, kept by every backend. A new backend is one more module at the end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the server is that of all files")]
mod postgres;
mod promises;
mod samples;

macro_rules! every_backend_keeps {
    ($($about:ident { $($promise:ident)* })*) => {
        mod in_memory {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $promise() {
                let store = doorward_store::SqliteStore::in_memory().await.unwrap();
                crate::promises::$about::$promise(std::sync::Arc::new(store)).await;
            })*)*
        }
        mod in_a_file {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $promise() {
                let directory = tempfile::tempdir().unwrap();
                let store = doorward_store::SqliteStore::open(&directory.path().join("store.db")).await.unwrap();
                crate::promises::$about::$promise(std::sync::Arc::new(store)).await;
            })*)*
        }
        mod on_a_server {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $promise() {
                let database = crate::postgres::Cluster::shared().database().await;
                crate::promises::$about::$promise(std::sync::Arc::new(database.open().await)).await;
            })*)*
        }
    };
}

every_backend_keeps! {
    accounts {
        an_account_is_found_by_its_address_and_by_its_number
        an_address_and_a_number_are_given_to_one_account
        accounts_are_listed_in_pages_in_the_order_of_their_addresses
        an_account_goes_with_its_keys_and_tokens_and_takes_no_others
        an_account_goes_with_the_policy_on_it_and_takes_no_others
        a_policy_names_no_account_that_is_not_there
        no_policy_outlives_an_account_that_it_names_whoever_writes_at_once
        keys_of_an_account_are_listed_oldest_first_and_removed_by_their_owner_only
        an_account_has_ten_keys_at_most_whoever_adds_them_at_once
        managed_keys_do_not_count_among_the_ten
        keys_of_all_accounts_are_listed_in_pages_in_the_order_of_their_ids
        the_two_newest_managed_keys_of_an_account_are_known
        of_those_who_make_a_managed_key_at_once_one_wins
        an_account_and_a_users_key_are_disabled_and_enabled_and_a_managed_key_is_not
        a_user_has_an_address_and_a_number_of_their_own
        a_first_password_is_set_once
        a_user_is_found_by_their_address_with_their_password
    }
    clients {
        a_client_is_found_by_its_id_as_it_was_registered
        a_client_id_is_given_to_one_client
        a_secret_is_replaced_and_nothing_else
        a_client_goes_with_everything_that_was_granted_to_it_and_takes_no_others
        a_client_that_an_application_has_stays
        nothing_is_granted_to_a_client_that_is_no_more
        a_session_is_good_until_it_ends_and_not_at_its_end
        a_session_takes_the_place_of_an_old_one_and_is_ended_alone
    }
    resources {
        a_policy_is_replaced_only_in_the_state_that_the_writer_saw
        of_writers_who_saw_one_state_of_a_policy_one_wins
        writers_who_expect_nothing_all_win_and_each_gets_a_state_of_its_own
        settings_are_replaced_as_a_whole
        of_writers_who_saw_one_state_of_settings_one_wins
    }
    applications {
        an_application_is_read_as_it_was_written
        a_name_a_number_and_a_place_are_given_to_one_application
        of_those_who_want_one_name_number_or_place_at_once_one_gets_it
        an_application_is_replaced_only_in_the_state_that_the_writer_saw
        several_applications_are_replaced_together_or_not_at_all
        an_application_goes_with_what_stands_on_it_and_takes_nothing_else
        no_policy_stands_on_an_application_that_is_no_more_whoever_writes_at_once
    }
    rules {
        a_policy_of_any_resource_keeps_its_roles_members_and_conditions
        a_deny_policy_is_written_in_the_state_that_the_writer_saw
        a_role_is_replaced_and_deleted_and_keeps_its_name
        access_levels_are_kept_as_they_were_written
        of_writers_who_fitted_a_level_to_the_same_levels_one_wins
        there_is_one_brand_at_most
        a_destination_group_is_replaced_only_in_the_state_that_the_writer_saw
        of_those_who_make_or_change_one_destination_group_at_once_one_wins
        a_destination_group_goes_with_the_policy_on_it_and_takes_no_others
    }
    groups {
        a_group_is_read_as_it_was_written_and_replaced_in_the_state_that_the_writer_saw
        members_come_and_go_one_at_a_time_and_are_read_in_pages
        a_group_goes_with_its_members_and_every_mention_of_it
        no_policy_outlives_a_group_that_it_names_whoever_writes_at_once
        accounts_and_pools_lose_their_places_in_groups_with_what_policies_give_them
        a_user_is_disabled_and_removed_with_what_they_allowed_and_their_places_in_groups
    }
    revisions {
        every_write_says_what_it_touched_and_a_write_that_changes_nothing_says_nothing
        changes_are_read_in_pages_that_do_not_part_a_write
        whoever_follows_the_revision_misses_nothing_however_many_write
        whoever_waits_is_told_of_a_change_and_of_nothing_when_patience_is_over
    }
    federation {
        a_pool_and_a_provider_are_listed_as_they_were_written
        of_writers_who_saw_one_state_of_a_pool_one_wins
        ids_are_given_once_and_a_provider_needs_its_pool
        a_change_of_a_provider_ends_its_tokens_and_no_others
        a_pool_goes_with_its_providers_and_their_tokens_and_takes_no_others
        nothing_is_kept_for_a_provider_that_is_no_more
        nothing_is_kept_for_what_a_provider_was_before
        a_provider_is_changed_only_in_the_state_that_the_writer_saw
        a_policy_names_no_pool_that_is_not_there
        no_policy_outlives_a_pool_that_it_names_whoever_writes_at_once
        there_are_a_hundred_pools_at_most_whoever_adds_them_at_once
        there_are_two_hundred_providers_at_most_in_all_pools_together
    }
    keys {
        keys_are_added_all_or_none_and_forgotten_by_id
    }
    tokens {
        an_access_token_is_good_until_it_ends_and_not_at_its_end
        an_access_token_is_forgotten_alone
        an_assertion_is_taken_once_until_it_ends
        of_those_who_present_one_assertion_at_once_one_gets_it
        an_assertion_that_ended_is_taken_again_however_many_ended_with_it
    }
    people {
        a_code_gives_what_was_granted_whatever_that_was
        a_code_is_taken_by_its_client_once_and_not_at_its_end
        of_one_person_for_one_client_the_newest_hundred_grants_with_a_refresh_token_stay
        of_those_who_take_a_code_at_once_one_gets_it_and_all_others_are_told_of_reuse
        a_refresh_token_stands_for_its_grant_until_that_is_revoked
        a_rotated_refresh_token_stays_known_and_is_rotated_once
        of_those_who_rotate_a_refresh_token_at_once_one_wins
        a_revoked_grant_ends_with_everything_that_was_issued_from_it_and_nothing_else
        nothing_outlives_a_grant_that_is_revoked_while_more_is_issued
        a_grant_lives_as_long_as_something_that_was_issued_from_it
        what_was_taken_in_its_last_moment_is_still_issued
    }
    devices {
        a_question_is_found_until_it_is_decided_or_ends
        a_user_code_belongs_to_one_question_at_a_time
        a_device_is_told_what_was_decided_when_it_asks_slowly_enough
        a_device_is_told_of_a_no_until_the_codes_end
        a_yes_is_worth_nothing_after_the_codes_end
        of_decisions_made_at_once_one_counts
        of_polls_made_at_once_one_is_told_the_yes
        of_polls_made_at_once_one_is_not_too_soon
        the_grant_of_a_device_is_kept_from_the_yes_that_was_told
        a_revoked_grant_is_not_told_to_a_device
    }
    record {
        the_record_keeps_its_order_and_is_read_from_both_ends
        the_record_keeps_the_newest_and_never_gives_a_number_again
        batches_that_are_appended_at_once_stay_whole_and_are_all_there
        the_record_is_a_chain_whoever_appends_and_whatever_is_forgotten
        an_event_is_found_by_its_id
        events_are_forgotten_by_age_up_to_the_first_that_is_younger
    }
}
