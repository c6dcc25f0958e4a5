import json
from dataclasses import replace


def test_history_repeated_by_every_model_call_counts_once(make_session):
    session = make_session("Refunded.")
    call = {"id": "1", "name": "refund", "arguments": '{"order": "R-1"}'}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    answered = {"role": "tool", "content": '{"paid": 12.5}', "tool_call_id": "1"}
    asked, done = ({**session.spans[-1], "output_messages": None} for _ in range(2))
    asked |= {"output": None, "output_messages": json.dumps([message])}
    done |= {
        "input_messages": json.dumps([{"role": "user", "content": "Refund me"}, message, answered])
    }
    session = replace(session, spans=[asked, done])
    assert [call.name for call in session.calls] == ["refund"]
    assert [text.content for text in session.results] == ['{"paid": 12.5}']
    tool = {**asked, "kind": "tool", "tool_name": "refund", "tool_arguments": '{"order":"R-1"}'}
    assert len(replace(session, spans=[asked, tool, done]).calls) == 1


def test_an_answer_that_a_chain_wraps_is_the_model_s_own(make_session):
    session = make_session("See [policy-9].", documents={"policy-7": "Refunds take 14 days."})
    state = json.dumps({"input": "Where is my order?", "output": "See [policy-9]."})
    root = {**session.spans[0], "input": state, "output": state}
    wrapped = replace(
        session, spans=[root, *session.spans[1:]], row={**session.row, "final_output": state}
    )
    assert wrapped.answer == ("2-llm", "See [policy-9].", "")
    assert [text.content for text in wrapped.answers] == ["See [policy-9]."]
    assert [text.content for text in wrapped.questions] == ["Where is my order?"]
    other = replace(wrapped, spans=[{**root, "output": '{"order": "R-1"}'}])
    assert next(text.content for text in other.answers) == '{"order": "R-1"}'


def test_what_evaluators_said_is_not_looked_at(make_session):
    session = make_session("All is well.")
    said = {**session.spans[-1], "output": "I cannot help.", "span_id": "judge"}
    judge = {**said, "kind": "evaluator"}
    inner = {**said, "span_id": "inner", "parent_id": "judge", "input_messages": None}
    judged = replace(session, spans=[*session.spans, judge, inner])
    assert "I cannot help." not in [text.content for text in judged.answers]
    open_judge = replace(session, spans=[*session.spans, inner])
    assert "I cannot help." in [text.content for text in open_judge.answers]
