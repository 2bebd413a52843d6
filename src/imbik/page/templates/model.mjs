// A text classifier in a browser: the tokenizer of an artefact, and its model on onnxruntime-web. Nothing is fetched.

const SPACE = /\p{White_Space}/u;
const IDEOGRAPHS = /[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;
const ESCAPED = /[.*+?^${}()|[\]\\]/g;

/** Texts to ids as a WordPiece tokenizer of BERT's kind makes them; `facts` are those that imbik.page.facts writes. */
export class Tokenizer {
  constructor(facts) {
    this.facts = facts;
    this.pieces = new Map(Object.entries(facts.vocabulary));
    const names = Object.keys(facts.special).sort((one, other) => other.length - one.length);
    // asked of the tokenizer itself: its Unicode is older than the browser's
    this.dropped = new RegExp(`[${facts.dropped}]`, "gu");
    this.marks = new RegExp(`[${facts.marks}]`, "gu");
    this.special = names.length ? new RegExp(`(${names.map((name) => name.replace(ESCAPED, "\\$&")).join("|")})`, "u") : /(?!)/;
  }

  /** The ids of a text, special ones included, cut to what the model reads. */
  ids(text) {
    const { special, before, after, length, side } = this.facts;
    // half a letter of JavaScript is a question mark in Python
    let ids = text.replace(/\p{Cs}/gu, "?").split(this.special)
      .flatMap((part) => Object.hasOwn(special, part) ? [special[part]] : this.words(part).flatMap((word) => this.cut(word)));
    const room = length - before.length - after.length;
    if (ids.length > room) ids = side === "left" ? ids.slice(ids.length - room) : ids.slice(0, room);
    return [...before, ...ids, ...after];
  }

  /** The words of a text: normalized, cut at white space and around punctuation. */
  words(text) {
    const { ideographs, decomposed, lowercase } = this.facts;
    if (ideographs) text = text.replace(IDEOGRAPHS, " $& ");
    if (decomposed) text = text.normalize("NFD");
    text = text.replace(this.dropped, "");
    // letter by letter: JavaScript would write a sigma at the end of a word otherwise
    if (lowercase) text = Array.from(text, (letter) => letter.toLowerCase()).join("");
    return text.replace(this.marks, " $& ").split(SPACE).filter((word) => word);
  }

  /** The longest piece from each place on; the unknown id alone where there is none. */
  cut(word) {
    const { inside, most, unknown } = this.facts, letters = Array.from(word), found = [];
    if (letters.length > most) return [unknown];
    for (let start = 0, end; start < letters.length; start = end) {
      for (end = letters.length; end > start; end--) {
        const id = this.pieces.get((start ? inside : "") + letters.slice(start, end).join(""));
        if (id !== undefined) { found.push(id); break; }
      }
      if (end === start) return [unknown];
    }
    return found;
  }
}

const ANSWERS = {
  single_label_classification(row) {
    const most = Math.max(...row), shares = row.map((value) => Math.exp(value - most)), sum = shares.reduce((a, b) => a + b);
    return shares.map((share) => share / sum);
  },
  multi_label_classification: (row) => row.map((value) => 1 / (1 + Math.exp(-value))),
  regression: (row) => row,
};

/** What answers a text. */
export class Model {
  constructor(session, runtime, facts) {
    Object.assign(this, { session, runtime, facts, tokenizer: new Tokenizer(facts.tokenizer) });
  }

  static async open(runtime, bytes, wasm, facts) {
    // threads would need a server that sends headers of its own
    Object.assign(runtime.env.wasm, { numThreads: 1, wasmBinary: wasm });
    return new Model(await runtime.InferenceSession.create(bytes, { executionProviders: ["wasm"] }), runtime, facts);
  }

  /** A number a label, in the order of `facts.labels`. */
  async answer(text) {
    let ids = this.tokenizer.ids(text);
    if (!ids.length) ids = [this.facts.padding];
    const filled = { input_ids: (id) => BigInt(id), attention_mask: () => 1n, token_type_ids: () => 0n };
    const feed = Object.fromEntries(this.session.inputNames.map((name) =>
      [name, new this.runtime.Tensor("int64", BigInt64Array.from(ids, filled[name]), [1, ids.length])]));
    const outputs = await this.session.run(feed);
    return ANSWERS[this.facts.answers](Array.from(outputs[this.session.outputNames[0]].data));
  }
}
