// A Promise whose jobs can be run. QuickJS's own run after a call of `handle`, which is never: so the build lowers `async` and
// `await` to this one, and runtime.js drives it until the handler's promise has settled.

const PENDING = 0;
const FULFILLED = 1;
const REJECTED = 2;

let jobs = [];
let unhandled = new Set();

/** Adds a job to the queue. */
export function enqueue(job) {
  jobs.push(job);
}

/** Runs jobs until none is left; `failed` is told what one throws. */
export function runJobs(failed) {
  while (jobs.length > 0) {
    const batch = jobs;
    jobs = [];
    for (const job of batch) {
      try {
        job();
      } catch (error) {
        failed(error);
      }
    }
  }
}

/** The reasons of rejections that nobody has asked about, which it forgets. */
export function takeUnhandled() {
  const reasons = Array.from(unhandled, (promise) => promise.reason);
  unhandled = new Set();
  return reasons;
}

/** Drops what an execution has left. */
export function forget() {
  jobs = [];
  unhandled = new Set();
}

/** What became of a promise: `undefined` while it is pending. */
export function outcome(promise) {
  return peek(promise);
}

let peek;

class DrivenPromise {
  #state = PENDING;
  #value = undefined;
  #reactions = [];
  #asked = null;

  static {
    peek = (promise) => {
      if (promise.#state === PENDING) return undefined;
      promise.#handle();
      return promise.#state === FULFILLED ? { value: promise.#value } : { reason: promise.#value };
    };
  }

  constructor(executor) {
    if (typeof executor !== "function") throw new TypeError("Promise resolver is not a function");
    const { resolve, reject } = this.#resolvers();
    try {
      executor(resolve, reject);
    } catch (error) {
      reject(error);
    }
  }

  // Of the two, the first that is called counts.
  #resolvers() {
    let called = false;
    const once = (act) => (value) => {
      if (called) return;
      called = true;
      act(value);
    };
    return { resolve: once((value) => this.#resolve(value)), reject: once((reason) => this.#settle(REJECTED, reason)) };
  }

  #resolve(value) {
    if (value === this) return this.#settle(REJECTED, new TypeError("a promise cannot be resolved with itself"));
    let then;
    try {
      then = value !== null && (typeof value === "object" || typeof value === "function") ? value.then : undefined;
    } catch (error) {
      return this.#settle(REJECTED, error);
    }
    if (typeof then !== "function") return this.#settle(FULFILLED, value);
    enqueue(() => {
      const { resolve, reject } = this.#resolvers();
      try {
        then.call(value, resolve, reject);
      } catch (error) {
        reject(error);
      }
    });
  }

  #settle(state, value) {
    this.#state = state;
    this.#value = value;
    const reactions = this.#reactions;
    this.#reactions = [];
    if (state === REJECTED && reactions.length === 0) {
      this.#asked = { reason: value };
      unhandled.add(this.#asked);
    }
    for (const reaction of reactions) this.#react(reaction);
  }

  #handle() {
    if (this.#asked !== null) unhandled.delete(this.#asked);
    this.#asked = null;
  }

  #react({ onFulfilled, onRejected, resolve, reject }) {
    const [state, value] = [this.#state, this.#value];
    enqueue(() => {
      const callback = state === FULFILLED ? onFulfilled : onRejected;
      if (typeof callback !== "function") return state === FULFILLED ? resolve(value) : reject(value);
      try {
        resolve(callback(value));
      } catch (error) {
        reject(error);
      }
    });
  }

  then(onFulfilled, onRejected) {
    const made = (this.constructor?.[Symbol.species] ?? DrivenPromise).withResolvers();
    const reaction = { onFulfilled, onRejected, resolve: made.resolve, reject: made.reject };
    if (this.#state === PENDING) {
      this.#reactions.push(reaction);
    } else {
      this.#handle();
      this.#react(reaction);
    }
    return made.promise;
  }

  catch(onRejected) {
    return this.then(undefined, onRejected);
  }

  finally(callback) {
    if (typeof callback !== "function") return this.then(callback, callback);
    const after = (then) => this.constructor.resolve(callback()).then(then);
    return this.then(
      (value) => after(() => value),
      (reason) =>
        after(() => {
          throw reason;
        }),
    );
  }

  static get [Symbol.species]() {
    return this;
  }

  static resolve(value) {
    return value instanceof DrivenPromise && value.constructor === this ? value : new this((resolve) => resolve(value));
  }

  static reject(reason) {
    return new this((_, reject) => reject(reason));
  }

  static withResolvers() {
    let resolve, reject;
    const promise = new this((...both) => ([resolve, reject] = both));
    return { promise, resolve, reject };
  }

  static try(callback, ...values) {
    return new this((resolve) => resolve(callback(...values)));
  }

  static race(promises) {
    return new this((resolve, reject) => {
      for (const promise of promises) this.resolve(promise).then(resolve, reject);
    });
  }

  static all(promises) {
    return gather(this, promises, (take, reject) => [take, reject]);
  }

  static allSettled(promises) {
    return gather(this, promises, (take) => [
      (value) => take({ status: "fulfilled", value }),
      (reason) => take({ status: "rejected", reason }),
    ]);
  }

  static any(promises) {
    const failed = (reasons) => new AggregateError(reasons, "All promises were rejected");
    return new this((resolve, reject) => {
      collect(
        this,
        promises,
        (take) => [resolve, take],
        (reasons) => reject(failed(reasons)),
        reject,
      );
    });
  }
}

function gather(constructor, promises, reactions) {
  return new constructor((resolve, reject) => {
    collect(constructor, promises, (take) => reactions(take, reject), resolve, reject);
  });
}

// Calls `done` with what each promise's `take` got, in their order.
function collect(constructor, promises, reactions, done, reject) {
  try {
    const values = [];
    let missing = 1;
    const arrived = () => --missing === 0 && done(values);
    let count = 0;
    for (const promise of promises) {
      const at = count++;
      missing++;
      const take = (value) => {
        values[at] = value;
        arrived();
      };
      constructor.resolve(promise).then(...reactions(take));
    }
    arrived();
  } catch (error) {
    reject(error);
  }
}

Object.defineProperty(DrivenPromise, "name", { value: "Promise", configurable: true });
Object.defineProperty(DrivenPromise.prototype, Symbol.toStringTag, { value: "Promise", configurable: true });

export { DrivenPromise };
