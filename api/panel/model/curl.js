// A turn as the call that would make it again.

/** Write the call; the key is left to the shell, so that it is in no history. */
export function curlOf(turn, header, origin) {
  const path = `/v1/sessions/${header.id}`;
  const isGreeting = turn.user_message === null;
  const call = isGreeting ? `${path}/turns/${turn.id}/regenerate` : `${path}/messages`;
  const body = isGreeting ? {} : { text: turn.user_message.text };
  return [
    `curl -sS -X POST ${quote(origin + call)}`,
    '-H "Authorization: Bearer $TURNLEDGER_KEY"',
    "-H 'Content-Type: application/json'",
    `-H ${quote(`If-Match: "${header.revision}"`)}`,
    `-d ${quote(JSON.stringify(body))}`,
  ].join(" \\\n  ");
}

function quote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
