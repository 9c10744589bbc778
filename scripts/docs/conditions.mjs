// Generates docs/reference/conditions.md: every condition and reason that the controller writes.
import { conditionTypes, problemMeanings, reasons } from '../../dist/controller/reasons.js'
import { generatedNote, table } from './table.mjs'

/** @param {Record<string, string>} meanings */
const rows = (meanings) => Object.entries(meanings).map(([word, meaning]) => [`\`${word}\``, meaning])

export function conditionsPage() {
  return `${generatedNote}
# Conditions

ChatTenants have all of these conditions; ChatPlans and ChatCredentials have \`Ready\`, \`Reconciling\` and
\`Stalled\`. \`observedGeneration\` names the generation of the spec that a condition describes. \`Reconciling\`,
\`Stalled\` and \`Conflict\` are present only while they are true. The list of reasons is complete, so alerts
may match them. Messages are for people and may change.

${table(['condition', 'true when'], rows(conditionTypes))}
## Reasons

${table(['reason', 'meaning'], rows(reasons))}
## Reasons why a spec is not accepted

The conditions \`Accepted\`, \`Ready\` and \`Stalled\` have these reasons. The message names the field and the
problem.

${table(['reason', 'meaning'], rows(problemMeanings))}`
}
