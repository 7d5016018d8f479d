//! Sessions of a leader and a door, without a network between them.

use super::*;

const NODE: NodeId = NodeId::from_bits(1);
const LEADER: NodeId = NodeId::from_bits(10);
const DOOR: NodeId = NodeId::from_bits(11);
const PERIOD: Duration = Duration::from_secs(1);

/// A leader, and a door that hears it.
fn two() -> (Sessions, Sessions) {
    let (leader, door) = (Sessions::new(LEADER), Sessions::new(DOOR));
    leader.begin_term();
    door.hears_leader();
    (leader, door)
}

/// What the leader knows after the door told it.
fn told(leader: &Sessions, door: &Sessions) -> Vec<Forward> {
    let answer = leader.heard_at(DOOR, &door.take_untold(), door.taken());
    answer.unwrap()
}

/// The answer arrives at the door.
fn take(door: &Sessions, forward: Vec<Forward>) {
    let last = forward.last().map(|last| last.number);
    door.take(Fetched { last, forward });
}

fn is_heard(leader: &Sessions) -> bool {
    let liveness = leader.liveness(Timestamp(1_000_000), PERIOD);
    liveness.heard.contains_key(&NODE)
}

#[test]
fn a_session_ends_by_its_own_number_and_the_node_was_heard_all_the_same() {
    let (sessions, _) = two();
    let first = sessions.open(NODE, PERIOD).unwrap();
    let second = sessions.open(NODE, PERIOD).unwrap();
    sessions.end(NODE, &first.session);
    assert!(sessions.is_session(NODE, &second.session));
    sessions.end(NODE, &second.session);
    assert!(!sessions.is_session(NODE, &second.session));
    assert!(is_heard(&sessions));
}

#[test]
fn the_leader_hears_who_talks_to_another_manager_and_answers_there() {
    let (leader, door) = two();
    assert!(leader.heard_at(DOOR, &[], 0).unwrap().is_empty());
    let mut opened = door.open(NODE, PERIOD).unwrap();
    assert!(told(&leader, &door).is_empty());
    assert!(is_heard(&leader));

    let number = leader.send(NODE, Message::CancelLogs(4)).unwrap();
    assert_eq!(name(number), opened.session);
    assert!(leader.is_open(NODE, number));
    take(&door, told(&leader, &door));
    let message = opened.messages.try_recv().unwrap().message;
    assert_eq!(message, Some(Message::CancelLogs(4)));
}

#[test]
fn a_new_leader_is_told_of_those_who_need_not_speak_soon() {
    let long = PERIOD * 60;
    let (old, door) = two();
    door.open(NODE, long).unwrap();
    told(&old, &door);
    old.open(NodeId::from_bits(2), long).unwrap();

    // The period is lowered by the next leader, whom nobody has called yet.
    let next = Sessions::new(LEADER);
    next.begin_term();
    assert!(door.take_untold().is_empty());
    door.all_untold();
    told(&next, &door);
    let heard = |leader: &Sessions| leader.liveness(Timestamp(1_000_000), PERIOD).heard;
    assert_eq!(heard(&next)[&NODE].period, long);

    // One that leads again goes on from its own sessions.
    old.end_term();
    old.begin_term();
    assert_eq!(heard(&old)[&NodeId::from_bits(2)].period, long);
}

#[test]
fn who_said_goodbye_is_not_heard_by_what_was_still_on_its_way() {
    let (leader, door) = two();
    let opened = door.open(NODE, PERIOD).unwrap();
    told(&leader, &door);
    assert!(door.heard(NODE, &opened.session, PERIOD));
    leader.close(NODE);
    let goodbye = told(&leader, &door);
    assert!(!is_heard(&leader));
    take(&door, goodbye);
    assert!(!door.is_session(NODE, &opened.session));
    assert!(opened.alive.has_changed().is_err(), "its streams end");

    // A session that is opened afterwards counts.
    door.open(NODE, PERIOD).unwrap();
    told(&leader, &door);
    assert!(is_heard(&leader));
}

#[test]
fn a_message_whose_answer_was_lost_is_sent_again_and_one_that_arrived_is_not() {
    let (leader, door) = two();
    let mut opened = door.open(NODE, PERIOD).unwrap();
    told(&leader, &door);
    leader.send(NODE, Message::CancelLogs(1)).unwrap();
    assert_eq!(told(&leader, &door).len(), 1, "an answer that is lost");
    leader.send(NODE, Message::CancelLogs(2)).unwrap();
    take(&door, told(&leader, &door));
    leader.send(NODE, Message::CancelLogs(3)).unwrap();
    take(&door, told(&leader, &door));
    assert!(told(&leader, &door).is_empty());
    let came = std::iter::from_fn(|| opened.messages.try_recv().ok()?.message);
    let came: Vec<_> = came.collect();
    assert_eq!(came, [1, 2, 3].map(Message::CancelLogs));

    // The next leader counts from elsewhere.
    let next = Sessions::new(LEADER);
    next.begin_term();
    door.all_untold();
    told(&next, &door);
    next.send(NODE, Message::CancelLogs(4)).unwrap();
    assert_eq!(told(&next, &door).len(), 1);
    take(&door, told(&next, &door));
    assert!(told(&next, &door).is_empty());
}

#[test]
fn what_waits_for_a_manager_is_handed_over_in_parts() {
    let (leader, door) = two();
    let mut opened = door.open(NODE, PERIOD).unwrap();
    told(&leader, &door);
    let task = Bytes::from(vec![0; 400_000]);
    for id in 0..10 {
        let request = pb::LogRequest {
            id,
            tasks: vec![task.clone()],
            options: None,
        };
        leader.send(NODE, Message::Logs(request)).unwrap();
    }
    let mut parts = Vec::new();
    loop {
        let forward = told(&leader, &door);
        parts.push(forward.len());
        if forward.is_empty() {
            break;
        }
        take(&door, forward);
    }
    assert_eq!(parts, [3, 3, 3, 1, 0]);
    for id in 0..10 {
        let message = opened.messages.try_recv().unwrap().message;
        assert!(matches!(message, Some(Message::Logs(request)) if request.id == id));
    }
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_covers_all_sessions_before_it_and_none_after_it() {
    // One that is left over at the leader, one at a door, and one that the
    // leader has not heard of.
    let (leader, door) = two();
    let third = Sessions::new(NodeId::from_bits(12));
    third.hears_leader();
    leader.open(NODE, PERIOD).unwrap();
    let second = door.open(NODE, PERIOD).unwrap();
    told(&leader, &door);
    third.open(NODE, PERIOD).unwrap();
    tokio::time::advance(Duration::from_millis(2)).await;
    leader.close(NODE);
    assert!(!is_heard(&leader));
    tokio::time::advance(Duration::from_millis(2)).await;
    door.heard(NODE, &second.session, PERIOD);
    told(&leader, &door);
    assert!(!is_heard(&leader), "by a session that it closed");
    let late = third.take_untold();
    leader.heard_at(third.this, &late, 0).unwrap();
    assert!(!is_heard(&leader), "by one from before the goodbye");

    let opened = third.open(NODE, PERIOD).unwrap();
    tokio::time::advance(Duration::from_millis(2)).await;
    leader
        .heard_at(third.this, &third.take_untold(), 0)
        .unwrap();
    assert!(is_heard(&leader), "by one that was opened afterwards");
    assert!(third.is_session(NODE, &opened.session));
}

#[test]
fn what_the_leader_could_not_be_told_is_told_later() {
    let (leader, door) = two();
    let opened = door.open(NODE, PERIOD).unwrap();
    let lost = door.take_untold();
    door.still_untold(lost.clone());
    told(&leader, &door);
    assert!(is_heard(&leader));
    door.end(NODE, &opened.session);
    door.still_untold(lost);
    assert!(door.take_untold().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_does_not_hear_the_leader_sends_agents_elsewhere() {
    let (leader, door) = two();
    let long = Duration::from_secs(3600);
    let none = Duration::ZERO;
    let opened = door.open(NODE, PERIOD).unwrap();
    tokio::time::advance(Duration::from_millis(2)).await;
    assert!(!leader.shut_after(none), "it hears itself");
    assert!(!door.shut_after(long));
    assert!(door.is_session(NODE, &opened.session));
    assert!(door.shut_after(none));
    assert!(opened.alive.has_changed().is_err());
    assert!(door.open(NODE, PERIOD).is_none());
    assert!(!door.shut_after(none), "it is shut already");
    door.hears_leader();
    assert!(door.open(NODE, PERIOD).is_some());

    // A leader that lost its term has as long to hear the next one.
    leader.open(NODE, PERIOD).unwrap();
    leader.end_term();
    assert!(!leader.shut_after(long));
    tokio::time::advance(Duration::from_millis(2)).await;
    assert!(leader.shut_after(none));
}

#[test]
fn sessions_outlive_a_change_of_leader_and_nobody_comes_to_one_that_stops() {
    let (leader, door) = two();
    let opened = door.open(NODE, PERIOD).unwrap();
    leader.end_term();
    door.begin_term();
    assert!(door.heard(NODE, &opened.session, PERIOD));
    assert!(is_heard(&door));
    door.stop();
    door.hears_leader();
    assert!(door.open(NODE, PERIOD).is_none());
}
