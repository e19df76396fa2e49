// A whole session as one value, and as Markdown for people.

const PAGE = 200;

/** Read the session with every turn of its line and, if wanted, every discarded future with its turns. */
export async function wholeSession(api, path, { withFutures }) {
  const session = await api.get(path, { last_turns: 0 });
  session.turns = await everyTurn(api, `${path}/turns`, 0, session.turn_count);
  session.complete = true;
  if (withFutures) {
    for (const future of session.discarded_futures) {
      const turns = `${path}/discarded-futures/${future.ordinal}/turns`;
      future.turns = await everyTurn(api, turns, future.branch_point, future.branch_point + future.turn_count);
    }
  }
  return session;
}

/** Write a conversation as Markdown. */
export function writeMarkdown(session) {
  const parts = [
    `# ${session.name ?? "Untitled session"}`,
    `Session \`${session.id}\`, revision ${session.revision}, ${session.state}. Agent \`${session.agent.id}\`, version ${session.agent.version}. Begun ${session.created_at}.`,
  ];
  for (const turn of session.turns) {
    if (turn.position === session.cursor) parts.push("---", "*The turns below are not in effect.*");
    parts.push(`## Turn ${turn.position + 1}${turn.state === "completed" ? "" : ` (${turn.state})`}`);
    if (turn.user_message !== null) parts.push(`**${turn.user_message.speaker ?? "User"}:**`, turn.user_message.text);
    for (const reply of turn.replies) {
      parts.push(`**${reply.speaker}${reply.truncated ? " (cut off)" : ""}:**`, reply.text);
    }
    if (turn.error) parts.push(`> Failed: ${turn.error.message}`);
  }
  return `${parts.join("\n\n")}\n`;
}

async function everyTurn(api, path, from, end) {
  const turns = [];
  while (from + turns.length < end) {
    const page = await api.get(path, { from: from + turns.length, limit: PAGE });
    if (page.items.length === 0) break;
    turns.push(...page.items);
  }
  return turns;
}
