//! Everything that the platform documents has a known kind.

use super::super::Lane;
use super::{extract, kinds, notification, value};
use serde_json::{Value, json};

/// The type of the only event, which must be a known one.
fn kind(body: &Value) -> String {
    let events = extract(body.to_string());
    assert_eq!(events.len(), 1, "{body}");
    let event = events.get(0).unwrap();
    assert!(event.is_known(), "{} of {body}", event.kind());
    event.kind().to_owned()
}

fn lane(body: &Value) -> Lane {
    extract(body.to_string()).get(0).unwrap().lane()
}

#[test]
fn message_types() {
    let types = "text image audio video document sticker location contacts interactive button order \
        reaction system unsupported edit revoke request_welcome media_placeholder unknown ephemeral voice";
    for name in types.split_whitespace() {
        let message = json!({"from": "15550100201", "id": "wamid.A", "timestamp": "1790417696",
            "type": name, name: {"body": "x"}});
        let echo =
            json!({"from": "15550100101", "to": "15550100201", "id": "wamid.A", "type": name});
        let live = notification("messages", &value(&json!({"messages": [&message]})));
        assert_eq!(kind(&live), format!("whatsapp.message.{name}"));
        assert_eq!(lane(&live), Lane::Messages);
        for field in ["message_echoes", "smb_message_echoes"] {
            let body = notification(field, &value(&json!({"message_echoes": [&echo]})));
            assert_eq!(kind(&body), format!("whatsapp.echo.{name}"));
            assert_eq!(lane(&body), Lane::Messages);
        }
        let standby = value(&json!({"standby": {"messages": [&message]}}));
        let body = notification("standby", &standby);
        assert_eq!(kind(&body), format!("whatsapp.standby.message.{name}"));
        let standby = value(&json!({"standby": {"message_echoes": [&echo]}}));
        assert_eq!(
            kind(&notification("standby", &standby)),
            format!("whatsapp.standby.echo.{name}")
        );
        let threads = json!([{"id": "15550100201", "messages": [&message]}]);
        let history = value(&json!({"history": [{"metadata": {"phase": 0}, "threads": threads}]}));
        let body = notification("history", &history);
        assert_eq!(kind(&body), format!("whatsapp.history.message.{name}"));
        assert_eq!(lane(&body), Lane::Rest);
        let media = notification("history", &value(&json!({"messages": [&message]})));
        assert_eq!(kind(&media), format!("whatsapp.history.message.{name}"));
        // On-Premises has no envelope.
        let bare = json!({"messages": [message], "contacts": [{"wa_id": "15550100201"}]});
        assert_eq!(kind(&bare), format!("whatsapp.message.{name}"));
    }
}

#[test]
fn statuses() {
    for (kind_of_status, family, statuses, expected) in [
        (
            None,
            "status",
            "sent delivered read played failed deleted warning",
            Lane::Statuses,
        ),
        (
            Some("message"),
            "status",
            "sent delivered read failed",
            Lane::Statuses,
        ),
        (
            Some("payment"),
            "payment",
            "captured pending failed",
            Lane::Statuses,
        ),
        (
            Some("call"),
            "call",
            "RINGING ACCEPTED REJECTED",
            Lane::Messages,
        ),
    ] {
        for name in statuses.split_whitespace() {
            let mut status = json!({"id": "wamid.A", "status": name, "timestamp": "1790417696",
                "recipient_id": "15550100201"});
            if let Some(kind_of_status) = kind_of_status {
                status["type"] = kind_of_status.into();
            }
            let body = notification("messages", &value(&json!({"statuses": [&status]})));
            let name = name.to_lowercase();
            assert_eq!(kind(&body), format!("whatsapp.{family}.{name}"));
            assert_eq!(lane(&body), expected);
            let standby = value(&json!({"standby": {"statuses": [&status]}}));
            let body = notification("standby", &standby);
            assert_eq!(kind(&body), format!("whatsapp.standby.{family}.{name}"));
            let bare = json!({"statuses": [status]});
            assert_eq!(kind(&bare), format!("whatsapp.{family}.{name}"));
        }
    }
}

#[test]
fn calls() {
    for name in ["connect", "terminate", "call_created"] {
        let call = json!({"id": "wacid.A", "from": "15550100201", "to": "15550100101",
            "event": name, "direction": "USER_INITIATED", "timestamp": "1790417696"});
        let body = notification("calls", &value(&json!({"calls": [call]})));
        assert_eq!(kind(&body), format!("whatsapp.call.{name}"));
        assert_eq!(lane(&body), Lane::Messages);
    }
}

#[test]
fn fields_with_arrays_of_their_own() {
    for (field, key) in [
        ("user_preferences", "user_preferences"),
        ("smb_app_state_sync", "state_sync"),
        ("automatic_events", "automatic_events"),
        ("group_lifecycle_update", "groups"),
        ("group_participants_update", "groups"),
        ("group_settings_update", "groups"),
        ("group_status_update", "groups"),
    ] {
        let body = notification(field, &value(&json!({key: [{"timestamp": 1_790_417_696}]})));
        assert_eq!(kind(&body), format!("whatsapp.{field}"));
        assert_eq!(lane(&body), Lane::Rest);
    }
    let click = json!({"action_type": "marketing_messages_link_click"});
    let body = notification("messages", &value(&json!({"user_actions": [click]})));
    assert_eq!(
        kind(&body),
        "whatsapp.user_action.marketing_messages_link_click"
    );
    let body = notification("messages", &value(&json!({"errors": [{"code": 130_429}]})));
    assert_eq!(kind(&body), "whatsapp.error");
    assert_eq!(kind(&json!({"errors": [{"code": 400}]})), "whatsapp.error");
}

#[test]
fn fields_that_are_one_update() {
    let fields = "account_alerts account_review_update account_settings_update account_update \
        business_capability_update business_status_update business_username_update \
        business_username_updates flows history message_template_components_update \
        message_template_quality_update message_template_status_update messaging_handovers \
        partner_solutions payment_configuration_update phone_number_name_update \
        phone_number_quality_update security template_category_update \
        template_correct_category_detection template_performance_metrics tracking_events \
        user_id_update";
    for field in fields.split_whitespace() {
        let body = notification(
            field,
            &json!({"event": "SOMETHING", "user_id_update": [{"a": 1}]}),
        );
        assert_eq!(kind(&body), format!("whatsapp.{field}"));
        assert_eq!(lane(&body), Lane::Rest);
    }
    // A sync that the business declined has no thread.
    let declined = value(&json!({"history": [{"errors": [{"code": 2_593_109}]}]}));
    assert_eq!(
        kind(&notification("history", &declined)),
        "whatsapp.history"
    );
}

#[test]
fn partner_envelopes() {
    let events = "client_created channel_created channel_ready channel_running \
        account_violation account_restriction";
    for event in events.split_whitespace() {
        let body = json!({"id": "604a87e3", "event": event, "data": {"id": "CH1"}});
        assert_eq!(kind(&body), format!("whatsapp.partner.{event}"));
    }
    let threads = json!([{"id": "15550100201", "messages": [{"id": "wamid.A", "type": "text"}]}]);
    let data = value(&json!({"id": "102290000000001", "history": [{"threads": threads}]}));
    let body = json!({"id": "604a87e3", "event": "history", "data": data});
    assert_eq!(kind(&body), "whatsapp.history.message.text");
}

#[test]
fn what_is_unknown_passes_under_its_own_name() {
    let message = value(&json!({"messages": [{"id": "wamid.A", "type": "hologram"}]}));
    let events = extract(notification("messages", &message).to_string());
    let event = events.get(0).unwrap();
    assert_eq!(
        (event.kind(), event.is_known()),
        ("whatsapp.message.hologram", false)
    );
    let events = extract(notification("brand_new", &json!({"x": 1})).to_string());
    let event = events.get(0).unwrap();
    assert_eq!(
        (event.kind(), event.is_known()),
        ("whatsapp.brand_new", false)
    );
}

#[test]
fn other_webhooks() {
    // Other objects of the platform go by field too, and have no change in `messaging`.
    let page = json!({"object": "page", "entry": [{"id": "1", "changes": [
        {"field": "feed", "value": {"item": "post"}}]}]});
    assert_eq!(kinds(page.to_string()), ["whatsapp.feed"]);
    let page = json!({"object": "page", "entry": [{"id": "1", "messaging": [{}]}]});
    assert_eq!(kinds(page.to_string()), ["whatsapp.empty"]);
    assert_eq!(kinds(r#"{"ref":"refs/heads/main"}"#), ["whatsapp.empty"]);
}
