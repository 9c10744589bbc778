// `matchProblem` for the API server: the same sentences, as far as CEL can tell. Unicode normal forms and sizes in bytes it cannot; those are
// found when the tenant is compiled.
import { celRaw, celRules } from './cel.js'
import { segmentsMax } from '../tenant/channel-match.js'

const segment = String.raw`(\*|\{user\}|\{claims\.[^{}*:]+\}|[^{}*:]*)`

/** RE2 knows no White_Space and no Bidi_Control: these are their members. */
const invisible = String.raw`[\p{Cc}\p{Z}\x{061C}\x{180E}\x{200B}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2060}\x{2066}-\x{2069}\x{FEFF}]`

export const matchRules = celRules([
  {
    rule: "self.type == 'Pattern' || !self.value.matches('[{}*]')",
    messageExpression: `'"' + self.value + '" has braces or a star, which mean something in type Pattern only.'`,
    fieldPath: '.value',
  },
  {
    rule: `self.type != 'Pattern' || self.value.matches(${celRaw(`^${segment}(:${segment})*$`)})`,
    messageExpression: `'"' + self.value + '" is no pattern: between colons stands plain text, "*" for any one segment, "{user}" or "{claims.<name>}", and nothing is mixed.'`,
    fieldPath: '.value',
  },
  {
    rule: `self.type != 'Pattern' || self.value.split(':').size() <= ${segmentsMax}`,
    message: `A pattern has at most ${segmentsMax} segments.`,
    fieldPath: '.value',
  },
  {
    rule: "!self.value.matches('^[$#]')",
    message: 'A channel name may not begin with "$" or "#": such names are kept for the platform.',
    fieldPath: '.value',
  },
  {
    rule: `!self.value.matches(${celRaw(invisible)})`,
    message: 'White space, control characters and invisible characters may not be in a channel name.',
    fieldPath: '.value',
  },
])
