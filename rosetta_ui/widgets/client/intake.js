/* A picture on its way into the page: chosen, dropped, pasted, or taken with the camera. What comes
   out is a Blob and a name; it is decoded by the app, which knows how to refuse what is no picture. */
(() => {
  "use strict";
  const { Refusal } = window.rosetta;

  const MOST_BYTES = 10e6;

  /** The first file of a drop or a paste, or null. */
  function fileOf(transfer) {
    const listed = [...(transfer?.files ?? [])];
    return listed.find((file) => file.type.startsWith("image/")) ?? listed[0] ?? null;
  }

  /** Take files that are dropped on `area`, and pictures that are pasted while it is seen. */
  function intake(area, give, complain) {
    let deep = 0; // dragenter and dragleave also fire for what lies inside
    const mark = (by) => {
      deep = Math.max(0, by ? deep + by : 0);
      area.classList.toggle("dropping", deep > 0);
    };
    area.addEventListener("dragenter", () => mark(1));
    area.addEventListener("dragleave", () => mark(-1));
    area.addEventListener("dragover", (event) => event.preventDefault());
    area.addEventListener("drop", (event) => {
      event.preventDefault();
      mark(0);
      const file = fileOf(event.dataTransfer);
      if (file) give(file, file.name);
      else complain(new Refusal("What was dropped is no file.", "Save the picture first, then drop it here."));
    });
    addEventListener("paste", (event) => {
      if (!area.offsetParent) return;
      const file = fileOf(event.clipboardData);
      if (!file) return;
      event.preventDefault();
      give(file, "pasted picture");
    });
  }

  /** A file as base64.

      Throws `Refusal` where it is too large, before a byte of it is read. */
  async function encoded(file) {
    if (file.size > MOST_BYTES) {
      const size = (file.size / 1e6).toFixed(1);
      throw new Refusal(`This file has ${size} MB; at most 10 MB are taken.`, "Save the picture smaller, or as JPEG.");
    }
    if (!file.size) throw new Refusal("This file is empty.", "Choose another picture.");
    try {
      return await new Promise((resolve, reject) => {
        const reader = new FileReader();
        reader.onload = () => resolve(String(reader.result).split(",", 2)[1] ?? "");
        reader.onerror = () => reject(reader.error);
        reader.readAsDataURL(file);
      });
    } catch {
      throw new Refusal("The browser cannot read this file.", "A folder is no picture; choose one file.");
    }
  }

  const REFUSED = {
    NotAllowedError: ["The browser does not let this page use the camera.", "Allow it beside the address, or choose a file."],
    NotFoundError: ["No camera was found.", "Connect one, or choose a file."],
    NotReadableError: ["The camera is in use by another program.", "Close that program, or choose a file."],
  };

  /** The camera, for one picture at a time: it is on only between `start` and `stop` or `shoot`. */
  function camera(video) {
    let stream = null;

    function stop() {
      for (const track of stream?.getTracks() ?? []) track.stop();
      stream = null;
      video.srcObject = null;
    }

    async function start() {
      stop();
      if (!navigator.mediaDevices?.getUserMedia) {
        throw new Refusal("The browser gives the camera to pages of this machine and to https pages only.", "Choose a file.");
      }
      try {
        stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false });
        video.srcObject = stream;
        await video.play();
      } catch (error) {
        stop();
        throw new Refusal(...(REFUSED[error.name] ?? ["The camera does not start.", "Choose a file."]));
      }
    }

    /** What the camera sees now, as a PNG; then it is switched off. */
    async function shoot() {
      const canvas = document.createElement("canvas");
      canvas.width = video.videoWidth;
      canvas.height = video.videoHeight;
      if (!canvas.width || !canvas.height) throw new Refusal("The camera shows nothing yet.", "Wait a moment.");
      canvas.getContext("2d").drawImage(video, 0, 0);
      stop();
      return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
    }

    return { start, stop, shoot, on: () => stream !== null };
  }

  Object.assign(window.rosetta, { intake, camera, encoded });
})();
