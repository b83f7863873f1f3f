// A GLB with one mesh, drawn with WebGL: drag to turn, wheel to come nearer. No library, no network.
"use strict";
(() => {
  const figure = document.getElementById("viewer"), canvas = figure.querySelector("canvas");
  const gl = canvas.getContext("webgl2", { antialias: true });
  if (!gl) return; // the page's video shows it as well
  figure.hidden = false;

  const VERTEX = `#version 300 es
    in vec3 position, normal; in vec2 uv;
    uniform mat4 view, lens;
    out vec3 facing; out vec2 place;
    void main() { facing = mat3(view) * normal; place = uv; gl_Position = lens * view * vec4(position, 1.0); }`;
  const FRAGMENT = `#version 300 es
    precision highp float;
    in vec3 facing; in vec2 place;
    uniform sampler2D albedo; uniform int mode;
    out vec4 colour;
    void main() {
      vec3 n = normalize(facing) * (gl_FrontFacing ? 1.0 : -1.0);
      float shade = 0.4 + 0.6 * max(dot(n, normalize(vec3(0.0, 0.5, 1.0))), 0.0);
      vec3 own = mode == 2 ? vec3(1.0) : texture(albedo, place).rgb;
      colour = vec4(mode == 1 ? own : own * shade, 1.0);
    }`;

  function readGlb(bytes) {
    const words = new DataView(bytes.buffer), length = words.getUint32(12, true);
    const model = JSON.parse(new TextDecoder().decode(bytes.subarray(20, 20 + length)));
    const start = 28 + length, views = model.bufferViews;
    const part = (i) => bytes.slice(start + views[i].byteOffset, start + views[i].byteOffset + views[i].byteLength);
    const numbers = (i) => part(model.accessors[i].bufferView).buffer;
    const mesh = model.meshes[0].primitives[0], names = mesh.attributes;
    return {
      position: new Float32Array(numbers(names.POSITION)), normal: new Float32Array(numbers(names.NORMAL)),
      uv: new Float32Array(numbers(names.TEXCOORD_0)), faces: new Uint32Array(numbers(mesh.indices)),
      picture: new Blob([part(model.images[0].bufferView)], { type: model.images[0].mimeType }),
    };
  }

  function program() {
    const whole = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(whole, shader);
    }
    gl.linkProgram(whole);
    if (!gl.getProgramParameter(whole, gl.LINK_STATUS)) throw Error(gl.getProgramInfoLog(whole));
    return whole;
  }

  // Column-major, as WebGL takes them. The camera turns about the mesh's middle: yaw 0 sees its front, +z.
  function viewMatrix(yaw, pitch, distance, [x, y, z]) {
    const [s, c, t, d] = [Math.sin(yaw), Math.cos(yaw), Math.sin(pitch), Math.cos(pitch)];
    const right = [c, 0, -s], up = [-s * t, d, -c * t], back = [s * d, t, c * d];
    const along = (axis) => -(axis[0] * x + axis[1] * y + axis[2] * z);
    return [right[0], up[0], back[0], 0, right[1], up[1], back[1], 0, right[2], up[2], back[2], 0,
      along(right), along(up), along(back) - distance, 1];
  }

  function lensMatrix(aspect, near, far) {
    const f = 1 / Math.tan(0.26);
    return [f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (near + far) / (near - far), -1, 0, 0, 2 * near * far / (near - far), 0];
  }

  async function show() {
    const text = atob(document.getElementById("glb").textContent);
    const model = readGlb(Uint8Array.from(text, (letter) => letter.charCodeAt(0)));
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
    model.position.forEach((value, i) => {
      low[i % 3] = Math.min(low[i % 3], value);
      high[i % 3] = Math.max(high[i % 3], value);
    });
    const middle = low.map((value, i) => (value + high[i]) / 2);
    const radius = Math.hypot(...low.map((value, i) => (high[i] - value) / 2)) || 1;

    const whole = program();
    gl.useProgram(whole);
    for (const [name, size] of [["position", 3], ["normal", 3], ["uv", 2]]) {
      const at = gl.getAttribLocation(whole, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, model[name], gl.STATIC_DRAW);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, size, gl.FLOAT, false, 0, 0);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, model.faces, gl.STATIC_DRAW);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, await createImageBitmap(model.picture));
    gl.generateMipmap(gl.TEXTURE_2D);
    gl.enable(gl.DEPTH_TEST);
    gl.clearColor(0.88, 0.88, 0.88, 1);

    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    let yaw = 0.5, pitch = 0.26, distance = 4.1 * radius, mode = 0, turning = !still, last = 0;
    const uniform = (name) => gl.getUniformLocation(whole, name);
    function draw() {
      const scale = window.devicePixelRatio || 1;
      [canvas.width, canvas.height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.uniformMatrix4fv(uniform("view"), false, viewMatrix(yaw, pitch, distance, middle));
      gl.uniformMatrix4fv(uniform("lens"), false, lensMatrix(canvas.width / canvas.height, 0.1 * radius, 40 * radius));
      gl.uniform1i(uniform("mode"), mode);
      gl.drawElements(gl.TRIANGLES, model.faces.length, gl.UNSIGNED_INT, 0);
    }
    function turn(now) {
      if (!turning) return;
      if (last) yaw += (now - last) / 2500;
      last = now;
      draw();
      requestAnimationFrame(turn);
    }
    canvas.onpointerdown = (event) => { turning = false; canvas.setPointerCapture(event.pointerId); };
    canvas.onpointermove = (event) => {
      if (!event.buttons) return;
      yaw -= event.movementX / 120;
      pitch = Math.max(-1.5, Math.min(1.5, pitch + event.movementY / 120));
      draw();
    };
    canvas.onwheel = (event) => {
      event.preventDefault();
      turning = false;
      distance = Math.max(1.5 * radius, Math.min(20 * radius, distance * Math.exp(event.deltaY / 800)));
      draw();
    };
    figure.querySelectorAll("button").forEach((button, i) => {
      button.onclick = () => { mode = i; draw(); };
    });
    new ResizeObserver(draw).observe(canvas);
    draw();
    requestAnimationFrame(turn);
  }

  show().catch((error) => { figure.hidden = true; console.error(error); });
})();
